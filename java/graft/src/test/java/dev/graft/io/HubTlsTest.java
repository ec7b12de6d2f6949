package dev.graft.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A hub that speaks TLS with a certificate of its own making: refused at once, unless the virtual
 * machine's trust store holds it and it is for the host that was asked.
 */
class HubTlsTest {
  private static final String PASSWORD = "changeit";
  private static final String NAME = "org/tiny";

  @TempDir Path folder;

  /** A fetch in a process of its own: a virtual machine reads its trust store once. */
  static final class Fetch {
    private Fetch() {}

    public static void main(String[] args) {
      try {
        Hub hub = new Hub(settings(URI.create(args[0]), Path.of(args[1])));
        System.out.println(hub.snapshot(HubName.parse(NAME), Hub.Part.MODEL));
      } catch (InvalidInputException e) {
        System.out.println(e.getMessage());
        System.exit(2);
      }
    }
  }

  private static HubSettings settings(URI endpoint, Path cache) {
    return new HubSettings(
        endpoint, cache, false, null, true, true, Duration.ofSeconds(20), Duration.ofMillis(1));
  }

  private static void succeed(List<String> command, Path output) throws Exception {
    assertThat(run(command, output)).as(Files.readString(output)).isZero();
  }

  private static int run(List<String> command, Path output) throws Exception {
    Process process =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    assertThat(process.waitFor(2, TimeUnit.MINUTES)).as("ended").isTrue();
    return process.exitValue();
  }

  private static String java(String tool) {
    return Path.of(System.getProperty("java.home"), "bin", tool).toString();
  }

  /** A key with a certificate signed by itself. */
  private KeyStore key(String host) throws Exception {
    Path file = folder.resolve("key-" + host.replace(':', '-') + ".p12");
    succeed(
        List.of(
            java("keytool"),
            "-genkeypair",
            "-alias",
            "hub",
            "-keyalg",
            "EC",
            "-dname",
            "CN=a hub of our own",
            "-ext",
            "SAN=" + host,
            "-storetype",
            "PKCS12",
            "-storepass",
            PASSWORD,
            "-keystore",
            file.toString()),
        folder.resolve("keytool.txt"));
    KeyStore store = KeyStore.getInstance("PKCS12");
    try (InputStream in = Files.newInputStream(file)) {
      store.load(in, PASSWORD.toCharArray());
    }
    return store;
  }

  private static HubServer serve(KeyStore key) throws Exception {
    KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    keys.init(key, PASSWORD.toCharArray());
    SSLContext tls = SSLContext.getInstance("TLS");
    tls.init(keys.getKeyManagers(), null, null);
    HubServer server = new HubServer(tls);
    server.serve(NAME, HubTestBase.files());
    return server;
  }

  /** A trust store with a certificate. */
  private Path trust(KeyStore key) throws Exception {
    KeyStore trusted = KeyStore.getInstance("PKCS12");
    trusted.load(null, null);
    trusted.setCertificateEntry("hub", key.getCertificate("hub"));
    Path file = folder.resolve("trusted.p12");
    try (OutputStream out = Files.newOutputStream(file)) {
      trusted.store(out, PASSWORD.toCharArray());
    }
    return file;
  }

  private int fetch(HubServer server, Path trusted, Path cache, Path output) throws Exception {
    List<String> command = new ArrayList<>(List.of(java("java"), "-XX:TieredStopAtLevel=1"));
    command.add("-Djavax.net.ssl.trustStore=" + trusted);
    command.add("-Djavax.net.ssl.trustStorePassword=" + PASSWORD);
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), Fetch.class.getName()));
    command.addAll(List.of(server.endpoint().toString(), cache.toString()));
    return run(command, output);
  }

  @Test
  void unknownCertificate_isRefusedAtOnce() throws Exception {
    try (HubServer server = serve(key("IP:127.0.0.1"))) {
      Path cache = folder.resolve("cache");
      Hub hub = new Hub(settings(server.endpoint(), cache));
      InvalidInputException e =
          catchThrowableOfType(
              InvalidInputException.class, () -> hub.snapshot(HubName.parse(NAME), Hub.Part.MODEL));
      assertThat(e)
          .hasMessageStartingWith(NAME + ": " + server.endpoint() + " shows a certificate that")
          .hasMessageContaining("unable to find valid certification path")
          .hasMessageContaining("-Djavax.net.ssl.trustStore=FILE");
      assertThat(e.getMessage()).hasLineCount(1);
      assertThat(server.requests).isEmpty();
      assertThat(files(cache)).isEmpty();
    }
  }

  private static List<Path> files(Path cache) throws IOException {
    if (!Files.exists(cache)) {
      return List.of();
    }
    try (var all = Files.walk(cache)) {
      return all.filter(file -> file.toString().endsWith(".json")).toList();
    }
  }

  @Test
  void trustedCertificate_isAccepted_forItsHostAlone() throws Exception {
    Path output = folder.resolve("fetched.txt");
    Path cache = folder.resolve("cache");
    KeyStore own = key("IP:127.0.0.1");
    try (HubServer server = serve(own)) {
      assertThat(fetch(server, trust(own), cache, output)).as(Files.readString(output)).isZero();
      List<String> printed = Files.readAllLines(output, StandardCharsets.UTF_8);
      Path snapshot = Path.of(printed.get(printed.size() - 1));
      assertThat(snapshot.resolve("model.safetensors"))
          .hasBinaryContent(HubTestBase.files().get("model.safetensors"));
      assertThat(server.count("cdn GET")).isEqualTo(1);
    }
    KeyStore another = key("DNS:hub.example");
    try (HubServer server = serve(another)) {
      Path empty = folder.resolve("empty");
      assertThat(fetch(server, trust(another), empty, output)).isEqualTo(2);
      assertThat(Files.readString(output))
          .contains("shows a certificate that Java does not trust", "127.0.0.1");
      assertThat(server.requests).isEmpty();
      assertThat(files(empty)).isEmpty();
    }
  }
}
