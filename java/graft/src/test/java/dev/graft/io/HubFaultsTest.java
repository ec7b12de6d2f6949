package dev.graft.io;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.net.httpserver.HttpExchange;
import dev.graft.io.HubServer.Hook;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Lines that break, servers that are busy or wrong: what is repaired, and what is refused. */
class HubFaultsTest extends HubTestBase {
  private static final int SIZE = 3_000_000;

  private final Map<String, byte[]> files = files();
  private final byte[] weights = files.get("model.safetensors");
  private final AtomicInteger asked = new AtomicInteger();

  @BeforeEach
  void serve() {
    server.serve(NAME, files);
  }

  private Path incomplete() {
    return cache.resolve("models--org--tiny/blobs/" + HubServer.sha256(weights) + ".incomplete");
  }

  private void assertWhole(Path snapshot) throws IOException {
    assertThat(snapshot.resolve("model.safetensors")).hasBinaryContent(weights);
    assertThat(tree()).noneMatch(file -> file.endsWith(".incomplete"));
  }

  private void assertNothingOfTheWeights() throws IOException {
    assertThat(tree()).noneMatch(file -> file.contains("model.safetensors"));
    assertThat(tree()).noneMatch(file -> file.contains(HubServer.sha256(weights)));
  }

  /** Sends some of the bytes from where they are asked for, and drops the line. */
  private Hook dropAfter(int count) {
    return exchange -> {
      int from = HubServer.from(exchange);
      if (from > 0) {
        exchange
            .getResponseHeaders()
            .set("Content-Range", "bytes " + from + "-" + (SIZE - 1) + "/" + SIZE);
      }
      exchange.sendResponseHeaders(from > 0 ? 206 : 200, SIZE - from);
      exchange.getResponseBody().write(weights, from, Math.min(count, SIZE - from));
      exchange.getResponseBody().flush();
      return true;
    };
  }

  private static Hook once(AtomicInteger counter, Hook hook) {
    return exchange -> counter.getAndIncrement() == 0 && hook.answer(exchange);
  }

  private Hook onList(Hook hook) {
    return exchange ->
        exchange.getRequestURI().getPath().startsWith("/api/") && hook.answer(exchange);
  }

  private static Hook status(int status, String... headers) {
    return exchange -> {
      for (int i = 0; i < headers.length; i += 2) {
        exchange.getResponseHeaders().set(headers[i], headers[i + 1]);
      }
      exchange.sendResponseHeaders(status, -1);
      return true;
    };
  }

  // ---- faults that pass --------------------------------------------------------------------

  @Test
  void droppedLine_goesOnWhereItBroke() throws IOException {
    server.cdnHook = once(asked, dropAfter(1_234_567));
    assertWhole(fetch());
    assertThat(server.count("cdn GET")).isEqualTo(2);
    assertThat(server.requests).anyMatch(r -> r.matches("cdn GET .* bytes=1[0-9]{6}-"));
    assertThat(heard)
        .anyMatch(line -> line.startsWith("note org/tiny: ") && line.contains("again"));
  }

  /** Each attempt gives more than 1 MiB, so five faults are never reached. */
  @Test
  void lineThatDropsAgainAndAgain_isPatientlyResumed() throws IOException {
    byte[] large = random(12_000_000);
    server.serve("org/large", Map.of("config.json", bytes("{}"), "model.safetensors", large));
    server.cdnHook =
        exchange -> {
          int from = HubServer.from(exchange);
          int count = Math.min(1_500_000, large.length - from);
          String range = "bytes " + from + "-" + (large.length - 1) + "/" + large.length;
          exchange.getResponseHeaders().set("Content-Range", range);
          exchange.sendResponseHeaders(from > 0 ? 206 : 200, large.length - from);
          exchange.getResponseBody().write(large, from, count);
          exchange.getResponseBody().flush();
          return true;
        };
    Path snapshot = new Hub(settings()).snapshot(HubName.parse("org/large"), Hub.Part.MODEL);
    assertThat(snapshot.resolve("model.safetensors")).hasBinaryContent(large);
    assertThat(server.count("cdn GET")).isGreaterThan(5);
  }

  @Test
  void lineThatGivesNothing_isGivenUp_andResumedByTheNextProgram() throws IOException {
    server.cdnHook = dropAfter(200_000);
    refused(
        settings(),
        "model.safetensors: the line broke after ",
        " of 3,000,000 bytes, which are kept",
        "try again later");
    assertThat(server.count("cdn GET")).isEqualTo(5);
    assertThat(Files.size(incomplete())).isBetween(200_000L, 1_000_000L);
    assertThat(tree()).noneMatch(file -> file.endsWith("/model.safetensors"));
    server.cdnHook = exchange -> false;
    long kept = Files.size(incomplete());
    heard.clear();
    assertWhole(fetch());
    assertThat(server.requests).anyMatch(r -> r.endsWith("bytes=" + kept + "-"));
    assertThat(heard.get(0)).endsWith(" " + kept);
  }

  @Test
  void bodyThatEndsEarlyWithoutALength_isAFault() throws IOException {
    server.cdnHook =
        once(
            asked,
            exchange -> {
              exchange.sendResponseHeaders(200, 0); // chunked
              exchange.getResponseBody().write(weights, 0, 1000);
              return true;
            });
    assertWhole(fetch());
    assertThat(server.requests).anyMatch(r -> r.endsWith("bytes=1000-"));
  }

  @Test
  void serverThatFallsSilent_isLeft() throws IOException {
    server.cdnHook =
        once(
            asked,
            exchange -> {
              exchange.sendResponseHeaders(200, SIZE);
              exchange.getResponseBody().write(weights, 0, 500_000);
              exchange.getResponseBody().flush();
              sleep(3000);
              return true;
            });
    assertWhole(fetch(impatient()));
    assertThat(heard).anyMatch(line -> line.contains("no answer within 1 s"));
    assertThat(server.count("cdn GET")).isGreaterThan(1);
  }

  @Test
  void busyServer_isAskedAgainWhenItSays() throws IOException {
    server.hook = onList(once(asked, status(429, "Retry-After", "1")));
    long begin = System.nanoTime();
    assertWhole(fetch());
    assertThat(Duration.ofNanos(System.nanoTime() - begin)).isGreaterThan(Duration.ofSeconds(1));
    assertThat(server.count("GET /api/")).isEqualTo(2);
  }

  @Test
  void serverErrors_areRepeatedFiveTimes() {
    for (int status : new int[] {500, 502, 503, 504, 408}) {
      server.requests.clear();
      server.hook = onList(status(status));
      refused(settings(), "127.0.0.1 fails (" + status + ")", "try again later");
      assertThat(server.count("GET /api/")).isEqualTo(5);
    }
    server.requests.clear();
    server.hook = onList(status(429));
    refused(settings(), "fewer requests (429)", "HF_TOKEN");
    server.hook = onList(status(429, "Retry-After", "3600"));
    server.requests.clear();
    refused(settings(), "it asks to wait 3600 s");
    assertThat(server.count("GET /api/")).isEqualTo(1);
  }

  @Test
  void expiredAddress_isAskedForAgain() throws IOException {
    server.cdnHook = once(asked, status(403));
    assertWhole(fetch());
    assertThat(server.count("GET /org/tiny/resolve")).isEqualTo(5);
  }

  @Test
  void hubThatIsNotThere_isSaid() throws IOException {
    int port;
    try (ServerSocket socket = new ServerSocket(0)) {
      port = socket.getLocalPort();
    }
    HubSettings s = settings();
    for (String host : new String[] {"127.0.0.1:" + port, "no-such-host.invalid"}) {
      HubSettings none =
          new HubSettings(
              URI.create("http://" + host), cache, false, null, true, true, s.timeout(), s.pause());
      refused(none, "cannot reach http://" + host + ": ");
    }
  }

  @Test
  void serverWithoutRanges_sendsAllAgain() throws IOException {
    server.cdnHook =
        exchange -> {
          if (asked.getAndIncrement() == 0) {
            return dropAfter(1_000_000).answer(exchange);
          }
          exchange.sendResponseHeaders(200, SIZE);
          exchange.getResponseBody().write(weights);
          return true;
        };
    assertWhole(fetch());
  }

  @Test
  void rangeRefused_isBegunAnew() throws IOException {
    server.cdnHook =
        exchange ->
            switch (asked.getAndIncrement()) {
              case 0 -> dropAfter(1_000_000).answer(exchange);
              case 1 -> status(416, "Content-Range", "bytes */" + SIZE).answer(exchange);
              default -> false;
            };
    assertWhole(fetch());
    assertThat(server.count("cdn GET")).isEqualTo(3);
  }

  @Test
  void partOfAnotherFile_isFoundByTheHash_andFetchedAnew() throws IOException {
    Files.createDirectories(incomplete().getParent());
    Files.write(incomplete(), random(1_000_001));
    assertWhole(fetch());
    assertThat(server.count("cdn GET")).isEqualTo(2);
  }

  @Test
  void partLongerThanTheFile_isLeft() throws IOException {
    Files.createDirectories(incomplete().getParent());
    Files.write(incomplete(), random(SIZE + 1));
    assertWhole(fetch());
    assertThat(server.count("cdn GET")).isEqualTo(1);
  }

  // ---- what is refused ---------------------------------------------------------------------

  @Test
  void wrongHash_isRefused_andNothingIsKept() throws IOException {
    byte[] other = weights.clone();
    other[SIZE / 2] ^= 1;
    server.cdnHook = exchange -> HubServer.content(exchange, other);
    refused(
        settings(),
        "model.safetensors: SHA-256 expected " + HubServer.sha256(weights),
        "got " + HubServer.sha256(other),
        "nothing of it was kept");
    assertNothingOfTheWeights();
    assertThat(heard).last().isEqualTo("end false");
    server.cdnHook = exchange -> false;
    assertWhole(fetch());
  }

  @Test
  void wrongHashOfASmallFile_isRefused() throws IOException {
    server.hook =
        exchange -> {
          if (!exchange.getRequestURI().getPath().endsWith("/vocab.txt")) {
            return false;
          }
          String etag = HubServer.blobSha1(files.get("vocab.txt"));
          exchange.getResponseHeaders().set("ETag", '"' + etag + '"');
          return HubServer.content(exchange, bytes("[PAD]\n[unk]\n"));
        };
    refused(settings(), "vocab.txt: SHA-1 of the git blob expected ");
    assertThat(tree()).noneMatch(file -> file.endsWith("vocab.txt"));
  }

  @Test
  void wrongLength_isRefused() throws IOException {
    for (int length : new int[] {1, SIZE - 1, SIZE + 1}) {
      server.cdnHook = exchange -> HubServer.content(exchange, random(length));
      refused(settings(), "expected " + SIZE + " bytes, the answer has " + length);
      assertNothingUnderItsName();
    }
    server.cdnHook =
        exchange -> {
          exchange.sendResponseHeaders(200, 0); // chunked, so of any length
          exchange.getResponseBody().write(random(SIZE + 70_000));
          return true;
        };
    refused(settings(), "the answer has more than the " + SIZE + " bytes expected");
    assertNothingUnderItsName();
  }

  private void assertNothingUnderItsName() throws IOException {
    assertThat(tree()).noneMatch(file -> file.endsWith("/model.safetensors"));
    assertThat(tree()).noneMatch(file -> file.endsWith(HubServer.sha256(weights)));
  }

  @Test
  void wrongRange_isRefused() throws IOException {
    server.cdnHook =
        exchange -> {
          if (asked.getAndIncrement() == 0) {
            return dropAfter(1_000_000).answer(exchange);
          }
          int from = HubServer.from(exchange);
          exchange.getResponseHeaders().set("Content-Range", "bytes 5-" + SIZE + "/" + SIZE);
          exchange.sendResponseHeaders(206, SIZE - from);
          exchange.getResponseBody().write(weights, from, SIZE - from);
          return true;
        };
    refused(settings(), "expected the range bytes ", "the answer has bytes 5-");
    assertNothingUnderItsName();
  }

  @Test
  void fileThatChangesBetweenAttempts_isRefused() throws IOException {
    server.cdnHook =
        exchange -> {
          // From now on the hub has another file under the same address.
          byte[] other = random(SIZE - 1);
          server.models.get(NAME).files().put("model.safetensors", other);
          return dropAfter(1_000_000).answer(exchange);
        };
    refused(settings(), "model.safetensors: changed on the hub while it was fetched");
    assertNothingUnderItsName();
  }

  @Test
  void compressedAnswer_isRefused() {
    server.cdnHook =
        exchange -> {
          exchange.getResponseHeaders().set("Content-Encoding", "gzip");
          return HubServer.content(exchange, weights);
        };
    refused(settings(), "came compressed (gzip)");
  }

  @Test
  void redirects_endSomewhere() {
    server.hook =
        exchange ->
            HubServer.status(exchange, 302, "Location", exchange.getRequestURI().toString());
    refused(settings(), "redirects more than 10 times");
    for (String to :
        new String[] {"file:///etc/passwd", "http:///x", "ftp://a/b", "::", "http://["}) {
      server.hook = exchange -> HubServer.status(exchange, 302, "Location", to);
      refused(settings(), "redirects to no address");
    }
    server.hook = exchange -> HubServer.status(exchange, 302, "X", "x");
    refused(settings(), "redirects to no address: none");
  }

  @Test
  void refusals_sayWhatToDo() {
    server.hook = onList(status(401));
    refused(settings(), "no such public model (401)", "check the spelling", "needs HF_TOKEN");
    refused(withToken("hf_x"), "does not let this token have it (401)", "HF_TOKEN");
    server.hook = onList(status(403, "X-Error-Code", "GatedRepo"));
    String address = "accept its terms at " + server.endpoint() + "/org/tiny";
    refused(settings(), "gated", address, "set HF_TOKEN");
    refused(withToken("hf_x"), "gated", address, "account of the token");
    server.hook = onList(status(404, "X-Error-Code", "RepoNotFound"));
    refused(settings(), "no such directory", "no such model (404)", "check the spelling");
    server.hook = onList(status(410, "X-Error-Message", "Gone for good"));
    refused(settings(), "refuses (410)", "Gone for");
    server.hook = onList(status(416));
    refused(settings(), "refuses (416)");
    server.hook =
        exchange ->
            exchange.getRequestURI().getPath().endsWith("config.json")
                && status(404, "X-Error-Code", "EntryNotFound").answer(exchange);
    refused(settings(), "config.json: the hub lists the file but does not have it (404)");
  }

  @Test
  void answersThatAreNoList_areRefused() throws IOException {
    server.hook =
        onList(
            exchange -> {
              exchange.getResponseHeaders().set("Content-Type", "text/html");
              return body(exchange, "<html>Please log in</html>");
            });
    refused(settings(), "answered with text/html instead of JSON", "HF_ENDPOINT");
    for (String text :
        new String[] {
          "",
          "[]",
          "{",
          "{\"sha\": 1}",
          "{\"sha\": \"../../x\", \"siblings\": []}",
          "{\"sha\": \"" + "a".repeat(40) + "\"}",
          "{\"sha\": \"" + "a".repeat(40) + "\", \"siblings\": [1]}",
          "{\"sha\": \"" + "a".repeat(40) + "\", \"siblings\": " + "[".repeat(9999)
        }) {
      server.hook = onList(exchange -> HubServer.json(exchange, bytes(text)));
      refused(settings(), "the hub's list of files: ");
    }
    server.hook =
        onList(
            exchange -> {
              exchange.getResponseHeaders().set("Content-Type", "application/json");
              exchange.sendResponseHeaders(200, 0);
              byte[] spaces = new byte[1 << 20];
              Arrays.fill(spaces, (byte) ' ');
              while (true) { // until the client has enough
                exchange.getResponseBody().write(spaces);
              }
            });
    refused(settings(), "larger than it may be (16 MiB)");
    assertThat(tree()).isEmpty();
  }

  private static boolean body(HttpExchange exchange, String text) throws IOException {
    exchange.sendResponseHeaders(200, text.length());
    exchange.getResponseBody().write(bytes(text));
    return true;
  }

  @Test
  void hostileFileNames_areRefused() throws IOException {
    for (String name :
        new String[] {
          "../evil",
          "a/../../evil",
          "/etc/evil",
          "..\\evil",
          "C:\\evil",
          "C:/evil",
          "a//b",
          "",
          ".",
          "a\u0000b",
          "a\nb"
        }) {
      server.hook =
          onList(
              exchange -> {
                var json = Json.object().put("sha", "a".repeat(40));
                json.putArray("siblings").addObject().put("rfilename", name);
                return HubServer.json(exchange, Json.bytes(json));
              });
      refused(settings(), "names the file '");
    }
    assertThat(tree()).isEmpty();
    server.hook = exchange -> false;
    files.remove("model.safetensors");
    for (String shard :
        new String[] {
          "../evil.bin",
          "/evil",
          "a/b.bin",
          "..\\evil",
          "nul",
          "com1.bin",
          "a:b",
          "a\nb",
          "",
          ".",
          "absent.bin",
          "a".repeat(300)
        }) {
      var index = Json.object();
      index.putObject("weight_map").put("t", shard);
      files.put("pytorch_model.bin.index.json", Json.bytes(index));
      server.serve(NAME, files);
      refused(anotherProgram(), shard.equals("absent.bin") ? "does not have" : "names the file '");
    }
  }

  @Test
  void hostileHashesAndSizes_areRefused() throws IOException {
    for (String etag : new String[] {"../../evil", "", "\"x\"", "a".repeat(41), "A".repeat(64)}) {
      server.hook = onHead("ETag", etag);
      refused(settings(), "names no SHA-256 or SHA-1 to verify it by");
    }
    for (String size : new String[] {"-1", "x", "99999999999999999999"}) {
      server.hook =
          onHead("ETag", "a".repeat(40), "X-Linked-Size", size, "X-Repo-Commit", commit());
      refused(settings(), "does not tell its size");
    }
    server.hook = onHead("ETag", "a".repeat(40), "X-Linked-Size", "999999999999999999");
    refused(settings(), "of free space");
    server.hook = onHead("ETag", "a".repeat(40), "X-Repo-Commit", "b".repeat(40));
    refused(settings(), "asked for commit " + commit() + ", got " + "b".repeat(40));
    assertThat(tree()).isEmpty();
  }

  private String commit() {
    return server.models.get(NAME).commit();
  }

  private static Hook onHead(String... headers) {
    return exchange ->
        exchange.getRequestMethod().equals("HEAD") && status(200, headers).answer(exchange);
  }

  private static void sleep(int millis) {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
