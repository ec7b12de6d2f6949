package dev.graft.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.graft.io.HubServer.Model;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** What a hub's model is in the cache, and which requests it takes. */
class HubTest extends HubTestBase {
  @Test
  void layout_isThatOfThePythonClient() throws IOException {
    Map<String, byte[]> files = files();
    Model model = server.serve(NAME, files);
    Path snapshot = fetch();
    String root = "models--org--tiny/";
    assertThat(snapshot).isEqualTo(cache.resolve(root + "snapshots/" + model.commit()));
    String weights = HubServer.sha256(files.get("model.safetensors"));
    String vocabulary = HubServer.blobSha1(files.get("vocab.txt"));
    assertThat(tree())
        .containsExactlyInAnyOrder(
            root + "blobs/" + weights,
            root + "blobs/" + vocabulary,
            root + "blobs/" + HubServer.blobSha1(files.get("config.json")),
            root + "blobs/" + HubServer.blobSha1(bytes("{}")),
            root + "refs/main",
            root + "snapshots/" + model.commit() + "/1_Pooling/config.json",
            root + "snapshots/" + model.commit() + "/config.json",
            root + "snapshots/" + model.commit() + "/model.safetensors",
            root + "snapshots/" + model.commit() + "/vocab.txt");
    assertThat(Files.readString(cache.resolve(root + "refs/main"))).isEqualTo(model.commit());
    assertThat(Files.readSymbolicLink(snapshot.resolve("vocab.txt")))
        .hasToString("../../blobs/" + vocabulary);
    assertThat(Files.readSymbolicLink(snapshot.resolve("1_Pooling/config.json")))
        .hasToString("../../../blobs/" + HubServer.blobSha1(bytes("{}")));
    assertThat(snapshot.resolve("model.safetensors"))
        .hasBinaryContent(files.get("model.safetensors"));
    assertThat(heard.get(0)).isEqualTo("start org/tiny 4 3000036 0");
    assertThat(heard.get(heard.size() - 2)).isEqualTo("progress model.safetensors 3000036");
    assertThat(heard.get(heard.size() - 1)).isEqualTo("end true");
    assertNothingOutside();
  }

  @Test
  void cachedModel_needsNoRequest() {
    Model model = server.serve(NAME, files());
    Path snapshot = fetch();
    int before = server.requests.size();
    assertThat(fetch()).isEqualTo(snapshot);
    assertThat(fetch(offline())).isEqualTo(snapshot);
    HubName commit = HubName.parse(NAME + "@" + model.commit());
    assertThat(new Hub(offline()).snapshot(commit, Hub.Part.MODEL)).isEqualTo(snapshot);
    assertThat(new Hub(settings()).snapshot(commit, Hub.Part.MODEL)).isEqualTo(snapshot);
    assertThat(server.requests).hasSize(before);
    // A branch may have moved: another program asks once.
    assertThat(fetch(anotherProgram())).isEqualTo(snapshot);
    assertThat(server.requests).hasSize(before + 1);
  }

  @Test
  void offline_withoutTheModel_saysSo() {
    refused(offline(), "no such directory", cache.toString(), "HF_HUB_OFFLINE");
    server.serve(NAME, files());
    new Hub(settings()).snapshot(HubName.parse(NAME), Hub.Part.TOKENIZER);
    int before = server.requests.size();
    InvalidInputException e =
        catchThrowableOfType(InvalidInputException.class, () -> fetch(offline()));
    assertThat(e).hasMessageContaining("does not hold model.safetensors");
    assertThat(server.requests).hasSize(before);
  }

  @Test
  void cacheThatIsAFile_isRefused() throws IOException {
    server.serve(NAME, files());
    Files.write(cache, new byte[1]);
    refused(settings(), "expected the directory of the cache (HF_HUB_CACHE), this is a file");
  }

  @Test
  void config_isFetchedAlone() throws IOException {
    server.serve(NAME, files());
    Path snapshot = new Hub(settings()).snapshot(HubName.parse(NAME), Hub.Part.CONFIG);
    assertThat(snapshot).isDirectoryContaining("glob:**/config.json");
    assertThat(tree()).filteredOn(file -> file.contains("snapshots")).hasSize(1);
    assertThat(new Hub(offline()).snapshot(HubName.parse(NAME), Hub.Part.CONFIG))
        .isEqualTo(snapshot);
  }

  @Test
  void tokenizer_isFetchedWithoutWeights_andTheWeightsLater() throws IOException {
    server.serve(NAME, files());
    Path snapshot = new Hub(settings()).snapshot(HubName.parse(NAME), Hub.Part.TOKENIZER);
    assertThat(snapshot.resolve("vocab.txt")).exists();
    assertThat(server.count("cdn")).isZero();
    assertThat(new Hub(offline()).snapshot(HubName.parse(NAME), Hub.Part.TOKENIZER))
        .isEqualTo(snapshot);
    assertThat(fetch()).isEqualTo(snapshot);
    assertThat(snapshot.resolve("model.safetensors")).exists();
    assertThat(server.count("GET /org/tiny/resolve/") - server.count("cdn GET")).isEqualTo(3);
  }

  @Test
  void movedBranch_isSeenByTheNextProgram_andSharesWhatIsEqual() {
    Map<String, byte[]> files = files();
    Model first = server.serve(NAME, files);
    Path old = fetch();
    files.put("config.json", bytes("{\"model_type\": \"bert\", \"new\": 1}"));
    Model second = server.serve(NAME, files);
    assertThat(fetch()).as("one program keeps to one commit").isEqualTo(old);
    Path fresh = fetch(anotherProgram());
    assertThat(fresh).endsWith(Path.of(second.commit()));
    assertThat(fresh.resolve("config.json")).hasContent("{\"model_type\": \"bert\", \"new\": 1}");
    assertThat(old).endsWith(Path.of(first.commit())).exists();
    assertThat(server.count("cdn GET")).as("the weights did not change").isEqualTo(1);
    assertThat(fetch(offline())).isEqualTo(fresh);
  }

  @Test
  void revisions_areBranchesTagsAndCommits() {
    Model model = server.serve(NAME, files());
    server.models.put(
        NAME,
        new Model(model.commit(), model.files(), List.of("v1.0", "refs/pr/4", model.commit())));
    for (String revision : List.of("v1.0", "refs/pr/4", model.commit())) {
      HubName name = HubName.parse(NAME + "@" + revision);
      assertThat(new Hub(settings()).snapshot(name, Hub.Part.MODEL)).exists();
      assertThat(new Hub(offline()).snapshot(name, Hub.Part.MODEL)).exists();
    }
    assertThat(cache.resolve("models--org--tiny/refs/refs/pr/4")).hasContent(model.commit());
    refusedModel(settings(), NAME + "@v2", "no revision 'v2'", "404");
  }

  @Test
  void shards_areThoseTheIndexNames() {
    Map<String, byte[]> files = files();
    files.remove("model.safetensors");
    files.put(
        "model.safetensors.index.json",
        bytes(
            "{\"weight_map\": {\"a\": \"model-1-of-2.safetensors\", \"b\": \"model-2-of-2.safetensors\"}}"));
    files.put("model-1-of-2.safetensors", random(1000));
    files.put("model-2-of-2.safetensors", random(2000));
    files.put("model-3-of-2.safetensors", random(3000));
    files.put("pytorch_model.bin", random(4000));
    server.serve(NAME, files);
    Path snapshot = fetch();
    assertThat(snapshot.resolve("model-1-of-2.safetensors")).hasBinaryContent(random(1000));
    assertThat(snapshot.resolve("model-2-of-2.safetensors")).hasBinaryContent(random(2000));
    assertThat(snapshot.resolve("model-3-of-2.safetensors")).doesNotExist();
    assertThat(snapshot.resolve("pytorch_model.bin")).doesNotExist();
    assertThat(fetch(offline())).isEqualTo(snapshot);
  }

  @Test
  void adapter_isTakenWithoutAConfigOfItsOwn() throws IOException {
    server.serve(
        NAME,
        Map.of(
            "adapter_config.json", bytes("{}"),
            "adapter_model.safetensors", random(1000),
            "optimizer.bin", random(2000)));
    Path snapshot = fetch();
    assertThat(snapshot.resolve("adapter_model.safetensors")).hasBinaryContent(random(1000));
    assertThat(tree()).filteredOn(file -> file.contains("snapshots")).hasSize(2);
    assertThat(fetch(offline())).isEqualTo(snapshot);
  }

  @Test
  void binWeights_areTakenWhereThereIsNothingBetter() {
    Map<String, byte[]> files = files();
    files.put("pytorch_model.bin", files.remove("model.safetensors"));
    server.serve(NAME, files);
    assertThat(fetch().resolve("pytorch_model.bin")).hasSize(3_000_000);
    files.remove("pytorch_model.bin");
    server.serve("org/tf", files);
    refusedModel(
        settings(),
        "org/tf",
        "no weights in it that Graft reads (model.safetensors, ",
        "; it has ",
        "tf_model.h5");
    files.remove("config.json");
    server.serve("org/nothing", files);
    refusedModel(settings(), "org/nothing", "no config.json");
  }

  @Test
  void token_isNotSentToAnotherHost() {
    server.serve(NAME, files());
    fetch(withToken("hf_secret"));
    assertThat(server.requests).hasSizeGreaterThan(6);
    for (String request : server.requests) {
      assertThat(request.contains(" token")).as(request).isEqualTo(!request.startsWith("cdn"));
    }
  }

  @Test
  void token_isNotSentOnceTheHubWasLeft_evenBackToTheHub() {
    server.serve(NAME, files());
    server.cdnHook =
        exchange -> HubServer.status(exchange, 302, "Location", server.endpoint() + "/back/model");
    server.hook =
        exchange ->
            exchange.getRequestURI().getPath().equals("/back/model")
                && HubServer.content(exchange, files().get("model.safetensors"));
    assertThat(fetch(withToken("hf_secret")).resolve("model.safetensors")).exists();
    assertThat(server.requests).contains("GET /back/model").doesNotContain("GET /back/model token");
  }

  @Test
  void renamedModel_isFollowed_withTheToken() {
    server.serve("new/tiny", files());
    server.renamed.put(NAME, "new/tiny");
    Path snapshot = fetch(withToken("hf_secret"));
    assertThat(snapshot.getParent().getParent()).endsWith(Path.of("models--org--tiny"));
    assertThat(server.count("GET /api/models/new/tiny/revision/main token")).isEqualTo(1);
  }

  @Test
  void withoutSymlinks_theFilesAreInTheSnapshot() throws IOException {
    HubSettings s = settings();
    HubSettings plain =
        new HubSettings(s.endpoint(), cache, false, null, true, false, s.timeout(), s.pause());
    Map<String, byte[]> files = files();
    server.serve(NAME, files);
    Path snapshot = fetch(plain);
    assertThat(Files.isSymbolicLink(snapshot.resolve("model.safetensors"))).isFalse();
    assertThat(snapshot.resolve("model.safetensors"))
        .hasBinaryContent(files.get("model.safetensors"));
    assertThat(tree()).noneMatch(file -> file.contains("blobs/"));
    // A blob that other snapshots may use is copied.
    files.put("config.json", bytes("{\"model_type\": \"bert\", \"new\": 1}"));
    Path linked = fetchOther(files, settings());
    Path copied = fetchOther(files, plain);
    assertThat(copied).isEqualTo(linked);
    Files.delete(copied.resolve("vocab.txt"));
    fetchOther(files, plain);
    assertThat(Files.isSymbolicLink(copied.resolve("vocab.txt"))).isFalse();
    assertThat(copied.resolve("vocab.txt")).hasBinaryContent(files.get("vocab.txt"));
    assertThat(
            cache.resolve("models--org--other/blobs/" + HubServer.blobSha1(files.get("vocab.txt"))))
        .exists();
  }

  private Path fetchOther(Map<String, byte[]> files, HubSettings settings) {
    server.serve("org/other", files);
    return new Hub(settings).snapshot(HubName.parse("org/other"), Hub.Part.MODEL);
  }

  @Test
  void deletedBlob_isFetchedAgain() throws IOException {
    server.serve(NAME, files());
    Path snapshot = fetch();
    Files.delete(snapshot.resolve("model.safetensors").toRealPath());
    assertThat(fetch().resolve("model.safetensors")).hasSize(3_000_000);
    // One of another size is no copy of it.
    Files.write(snapshot.resolve("vocab.txt").toRealPath(), bytes("cut"));
    Files.delete(snapshot.resolve("vocab.txt"));
    assertThat(fetch().resolve("vocab.txt")).hasContent("[PAD]\n[UNK]");
  }

  @Test
  void emptyFile_isAFile() {
    Map<String, byte[]> files = files();
    files.put("merges.txt", new byte[0]);
    server.serve(NAME, files);
    assertThat(fetch().resolve("merges.txt")).isEmptyFile();
  }

  @Test
  void unreachableHub_leavesTheCachedModelUsable_andSaysSo() {
    server.serve(NAME, files());
    Path snapshot = fetch();
    server.hook = exchange -> HubServer.status(exchange, 503, "X", "x");
    assertThat(fetch(anotherProgram())).isEqualTo(snapshot);
    assertThat(heard).last().asString().contains("503", "using the cached commit");
  }

  @Test
  void manyThreads_fetchAFileOnce() throws Exception {
    server.serve(NAME, files());
    ExecutorService pool = Executors.newFixedThreadPool(8);
    Callable<Path> task =
        () -> new Hub(anotherProgram()).snapshot(HubName.parse(NAME), Hub.Part.MODEL);
    for (Future<Path> end : pool.invokeAll(Collections.nCopies(8, task))) {
      assertThat(end.get(30, TimeUnit.SECONDS)).isEqualTo(fetch(offline()));
    }
    pool.shutdown();
    assertThat(server.count("cdn GET")).isEqualTo(1);
  }

  /** A process that fetches; the arguments are endpoint and cache. */
  static final class Fetcher {
    public static void main(String[] arguments) {
      Map<String, String> variables =
          new TreeMap<>(Map.of("HF_ENDPOINT", arguments[0], "HF_HUB_CACHE", arguments[1]));
      HubSettings settings = HubSettings.of(variables::get, Path.of("/nowhere"));
      System.out.println(
          new Hub(settings).snapshot(HubName.parse(NAME), Hub.Part.MODEL).getFileName());
    }
  }

  @Test
  void manyProcesses_fetchAFileOnce() throws Exception {
    Model model = server.serve(NAME, files());
    // Slow enough that all of them are there before the first has done.
    server.cdnHook =
        exchange -> {
          try {
            Thread.sleep(3000);
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
          return false;
        };
    List<Process> processes = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      processes.add(
          new ProcessBuilder(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "-Xmx64m",
                  "-cp",
                  System.getProperty("java.class.path"),
                  Fetcher.class.getName(),
                  server.endpoint().toString(),
                  cache.toString())
              .redirectError(ProcessBuilder.Redirect.INHERIT)
              .start());
    }
    for (Process process : processes) {
      assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
      assertThat(new String(process.getInputStream().readAllBytes()).strip())
          .isEqualTo(model.commit());
    }
    assertThat(server.count("GET /api/")).isEqualTo(3);
    assertThat(server.count("cdn GET")).isEqualTo(1);
  }
}
