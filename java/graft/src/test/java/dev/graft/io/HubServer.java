package dev.graft.io;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;

/**
 * A hub on this machine: the routes of the public one, with large files on a second server to which
 * it redirects. Faults come from hooks that answer in its place.
 */
public final class HubServer implements AutoCloseable {
  /** Answers a request, or returns false to leave it to the server. */
  public interface Hook {
    boolean answer(HttpExchange exchange) throws IOException;
  }

  /** A model: its files at a commit, and the names that stand for the commit. */
  public record Model(String commit, TreeMap<String, byte[]> files, List<String> revisions) {}

  private static final Pattern RANGE = Pattern.compile("bytes=([0-9]+)-");

  /** Requests in order: method, path, and " token" if there was one; of the other server "cdn". */
  public final List<String> requests = new CopyOnWriteArrayList<>();

  final Map<String, Model> models = new ConcurrentHashMap<>();

  /** Former names of models. */
  final Map<String, String> renamed = new ConcurrentHashMap<>();

  volatile Hook hook = exchange -> false;
  volatile Hook cdnHook = exchange -> false;

  private final SSLContext tls;
  private final HttpServer hub;
  private final HttpServer cdn;
  private final ExecutorService threads = Executors.newCachedThreadPool();

  public HubServer() {
    this(null);
  }

  /** Speaks TLS with the context's certificate; null for plain HTTP. */
  HubServer(SSLContext tls) {
    this.tls = tls;
    hub = start(this::hub);
    cdn = start(this::cdn);
  }

  private HttpServer start(Hook handler) {
    try {
      InetSocketAddress address = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
      HttpServer server = tls == null ? HttpServer.create(address, 0) : secured(address);
      server.setExecutor(threads);
      server.createContext(
          "/",
          exchange -> {
            try (exchange) {
              handler.answer(exchange);
            }
          });
      server.start();
      return server;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private HttpServer secured(InetSocketAddress address) throws IOException {
    HttpsServer server = HttpsServer.create(address, 0);
    server.setHttpsConfigurator(new HttpsConfigurator(tls));
    return server;
  }

  public URI endpoint() {
    return address(hub);
  }

  URI cdnAddress() {
    return address(cdn);
  }

  private URI address(HttpServer server) {
    String scheme = tls == null ? "http" : "https";
    return URI.create(scheme + "://127.0.0.1:" + server.getAddress().getPort());
  }

  /** Serves a model's files at a commit that they determine. */
  public Model serve(String name, Map<String, byte[]> files) {
    String commit = sha1(files.toString().getBytes(StandardCharsets.UTF_8));
    Model model = new Model(commit, new TreeMap<>(files), List.of("main", commit));
    models.put(name, model);
    return model;
  }

  public long count(String start) {
    return requests.stream().filter(request -> request.startsWith(start)).count();
  }

  private static String text(HttpExchange exchange) {
    boolean token = exchange.getRequestHeaders().containsKey("Authorization");
    return exchange.getRequestMethod() + " " + exchange.getRequestURI() + (token ? " token" : "");
  }

  private boolean hub(HttpExchange exchange) throws IOException {
    requests.add(text(exchange));
    if (hook.answer(exchange)) {
      return true;
    }
    String path = exchange.getRequestURI().getRawPath();
    for (Map.Entry<String, String> other : renamed.entrySet()) {
      if (path.startsWith("/" + other.getKey() + "/")
          || path.startsWith("/api/models/" + other.getKey() + "/")) {
        String to = path.replaceFirst(other.getKey(), other.getValue());
        return status(exchange, 307, "Location", to);
      }
    }
    for (Map.Entry<String, Model> entry : models.entrySet()) {
      String list = "/api/models/" + entry.getKey() + "/revision/";
      String resolve = "/" + entry.getKey() + "/resolve/";
      Model model = entry.getValue();
      if (path.startsWith(list)) {
        return list(exchange, model, path.substring(list.length()));
      }
      if (path.startsWith(resolve)) {
        String[] parts = path.substring(resolve.length()).split("/", 2);
        byte[] content = model.files.get(parts[1]);
        boolean known = model.revisions.contains(parts[0]);
        return known && content != null
            ? file(exchange, model, parts[1], content)
            : status(exchange, 404, "X-Error-Code", "EntryNotFound");
      }
    }
    return status(exchange, 404, "X-Error-Code", "RepoNotFound");
  }

  private boolean list(HttpExchange exchange, Model model, String revision) throws IOException {
    if (!model.revisions.contains(revision.replace("%2F", "/"))) {
      return status(exchange, 404, "X-Error-Code", "RevisionNotFound");
    }
    ObjectNode json = Json.object().put("sha", model.commit);
    ArrayNode siblings = json.putArray("siblings");
    model.files.keySet().forEach(name -> siblings.addObject().put("rfilename", name));
    return json(exchange, Json.bytes(json));
  }

  private boolean file(HttpExchange exchange, Model model, String name, byte[] content)
      throws IOException {
    exchange.getResponseHeaders().set("X-Repo-Commit", model.commit);
    if (isLarge(name)) {
      String hash = sha256(content);
      exchange.getResponseHeaders().set("X-Linked-Etag", '"' + hash + '"');
      exchange.getResponseHeaders().set("X-Linked-Size", Integer.toString(content.length));
      exchange.getResponseHeaders().set("ETag", "\"not-the-file\"");
      return status(exchange, 302, "Location", cdnAddress() + "/" + hash + "?signed=1");
    }
    exchange.getResponseHeaders().set("ETag", '"' + blobSha1(content) + '"');
    return content(exchange, content);
  }

  static boolean isLarge(String name) {
    return name.endsWith(".safetensors") || name.endsWith(".bin");
  }

  private boolean cdn(HttpExchange exchange) throws IOException {
    String range = exchange.getRequestHeaders().getFirst("Range");
    requests.add("cdn " + text(exchange) + (range == null ? "" : " " + range));
    if (cdnHook.answer(exchange)) {
      return true;
    }
    String hash = exchange.getRequestURI().getPath().substring(1);
    for (Model model : models.values()) {
      for (byte[] content : model.files.values()) {
        if (sha256(content).equals(hash)) {
          exchange.getResponseHeaders().set("ETag", "\"of-the-cdn\"");
          return content(exchange, content);
        }
      }
    }
    return status(exchange, 404, "X", "x");
  }

  /** The whole, or the part a range asks for. */
  static boolean content(HttpExchange exchange, byte[] content) throws IOException {
    if (exchange.getRequestMethod().equals("HEAD")) {
      exchange.getResponseHeaders().set("Content-Length", Integer.toString(content.length));
      exchange.sendResponseHeaders(200, -1);
      return true;
    }
    int from = from(exchange);
    if (from > 0) {
      exchange
          .getResponseHeaders()
          .set(
              "Content-Range", "bytes " + from + "-" + (content.length - 1) + "/" + content.length);
    }
    exchange.sendResponseHeaders(from > 0 ? 206 : 200, content.length - from);
    exchange.getResponseBody().write(content, from, content.length - from);
    return true;
  }

  static int from(HttpExchange exchange) {
    String range = exchange.getRequestHeaders().getFirst("Range");
    Matcher matcher = RANGE.matcher(range == null ? "" : range);
    return matcher.matches() ? Integer.parseInt(matcher.group(1)) : 0;
  }

  static boolean status(HttpExchange exchange, int status, String header, String value)
      throws IOException {
    exchange.getResponseHeaders().set(header, value);
    exchange.sendResponseHeaders(status, -1);
    return true;
  }

  static boolean json(HttpExchange exchange, byte[] json) throws IOException {
    exchange.getResponseHeaders().set("Content-Type", "application/json; charset=utf-8");
    exchange.sendResponseHeaders(200, json.length);
    exchange.getResponseBody().write(json);
    return true;
  }

  static String sha256(byte[] content) {
    return hash("SHA-256", content);
  }

  static String sha1(byte[] content) {
    return hash("SHA-1", content);
  }

  static String blobSha1(byte[] content) {
    ByteArrayOutputStream blob = new ByteArrayOutputStream();
    blob.writeBytes(("blob " + content.length + "\0").getBytes(StandardCharsets.US_ASCII));
    blob.writeBytes(content);
    return sha1(blob.toByteArray());
  }

  private static String hash(String algorithm, byte[] content) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance(algorithm).digest(content));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public void close() {
    hub.stop(0);
    cdn.stop(0);
    threads.shutdownNow();
  }
}
