package dev.graft.io;

import dev.graft.io.HubRetry.Fault;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpTimeoutException;
import java.nio.channels.UnresolvedAddressException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.cert.CertificateException;
import java.time.Duration;
import java.time.Instant;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import java.util.Optional;
import javax.net.ssl.SSLException;

/**
 * Requests to a hub. Redirects are followed here, because the token belongs to the hub alone: once
 * they have left its host, it is not sent on.
 */
final class HubClient {
  private static final int MOST_REDIRECTS = 10;
  private static final Duration CONNECT = Duration.ofSeconds(10);

  private final HubSettings settings;

  /** Made when it is needed: a model from the cache needs none. */
  private static final class Http {
    static final HttpClient CLIENT =
        HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .followRedirects(HttpClient.Redirect.NEVER)
            .connectTimeout(CONNECT)
            .build();
  }

  HubClient(HubSettings settings) {
    this.settings = settings;
  }

  HubSettings settings() {
    return settings;
  }

  /**
   * The end of a chain of redirects.
   *
   * @param response the last answer; its body must be closed
   * @param etag of the file as the hub names it, not as a host it redirects to does; may be null
   * @param size of the file likewise; −1 if not told
   * @param commit the file belongs to; may be null
   */
  record Answer(HttpResponse<HubBody> response, String etag, long size, String commit)
      implements AutoCloseable {
    int status() {
      return response.statusCode();
    }

    String header(String name) {
      return response.headers().firstValue(name).orElse(null);
    }

    @Override
    public void close() {
      response.body().close();
    }
  }

  /** One try at the list of a model's files. */
  HubListing list(HubName name) throws Fault {
    String path = "/api/models/" + name.repository() + "/revision/" + encoded(name.revision());
    try (Answer answer = send(name, "GET", path, -1)) {
      if (answer.status() != 200) {
        throw HubErrors.refused(settings, name, null, answer);
      }
      Path where = Path.of(name + ": the hub's list of files");
      byte[] bytes = answer.response().body().readNBytes((int) InputLimits.HUB_LISTING + 1);
      if (bytes.length > InputLimits.HUB_LISTING) {
        throw new InvalidInputException(
            name
                + ": the hub's list of files is larger than it may be ("
                + (InputLimits.HUB_LISTING >> 20)
                + " MiB)");
      }
      String type = answer.header("Content-Type");
      if (type == null || !type.contains("json")) {
        throw new InvalidInputException(
            name
                + ": "
                + settings.endpoint()
                + " answered with "
                + (type == null ? "something" : type)
                + " instead of JSON: is HF_ENDPOINT right, or does the network ask for a login?");
      }
      return HubListing.of(where, Json.parseObject(where, bytes));
    } catch (IOException e) {
      throw fault(name, "cannot reach " + settings.endpoint(), e);
    }
  }

  /** One try at what the hub knows of a file. */
  HubFile describe(HubName name, String commit, String file) throws Fault {
    try (Answer answer = send(name, "HEAD", path(name, commit, file), -1)) {
      int status = answer.status();
      boolean elsewhere = isRedirect(status) && answer.etag() != null;
      if (status != 200 && !elsewhere) {
        throw HubErrors.refused(settings, name, file, answer);
      }
      if (answer.commit() != null && !answer.commit().equals(commit)) {
        throw new InvalidInputException(
            name + ": " + file + ": asked for commit " + commit + ", got " + answer.commit());
      }
      return HubFile.of(name, file, answer.etag(), answer.size());
    }
  }

  /** One try at the content of a file from a byte on; the body is the caller's to close. */
  Answer open(HubName name, String commit, String file, long from) throws Fault {
    return send(name, "GET", path(name, commit, file), from);
  }

  private static String path(HubName name, String commit, String file) {
    StringBuilder path = new StringBuilder();
    path.append('/').append(name.repository()).append("/resolve/").append(commit);
    for (String part : file.split("/")) {
      path.append('/').append(encoded(part));
    }
    return path.toString();
  }

  private static String encoded(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20");
  }

  private Answer send(HubName name, String method, String path, long from) throws Fault {
    URI at = URI.create(settings.endpoint() + path);
    boolean atHub = true;
    String etag = null;
    String size = null;
    String commit = null;
    for (int hop = 0; hop <= MOST_REDIRECTS; hop++) {
      HttpResponse<HubBody> response = once(name, method, at, atHub, from);
      int status = response.statusCode();
      etag = first(etag, response, "X-Linked-Etag");
      size = first(size, response, "X-Linked-Size");
      commit = first(commit, response, "X-Repo-Commit");
      // Another host's address was signed by the hub for a while: ask the hub for a new one.
      boolean expired = !atHub && status >= 400 && status != 416;
      if (HubErrors.isTransient(status) || expired) {
        response.body().close();
        throw new Fault(HubErrors.busy(settings, at, status), retryAfter(response), null);
      }
      URI next = isRedirect(status) ? location(name, at, response) : null;
      boolean leaves = next != null && !isHub(next);
      if (next == null || (leaves && method.equals("HEAD"))) {
        if (next == null && atHub) {
          etag = first(etag, response, "ETag");
          size = from > 0 ? size : first(size, response, "Content-Length");
        }
        return new Answer(response, normalised(etag), length(size), commit);
      }
      response.body().close();
      atHub &= !leaves;
      at = next;
    }
    throw new InvalidInputException(
        name
            + ": "
            + settings.endpoint()
            + path
            + " redirects more than "
            + MOST_REDIRECTS
            + " times");
  }

  private HttpResponse<HubBody> once(HubName name, String method, URI at, boolean atHub, long from)
      throws Fault {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(at)
            .method(method, HttpRequest.BodyPublishers.noBody())
            .timeout(settings.timeout())
            // Sizes and hashes are those of the plain bytes.
            .header("Accept-Encoding", "identity")
            .header("User-Agent", "graft; java/" + Runtime.version().feature());
    if (atHub && settings.token() != null) {
      request.header("Authorization", "Bearer " + settings.token());
    }
    if (from > 0) {
      request.header("Range", "bytes=" + from + "-");
    }
    try {
      return Http.CLIENT.send(request.build(), info -> new HubBody(settings.timeout()));
    } catch (SSLException e) {
      CertificateException certificate = HubErrors.certificate(e);
      if (certificate != null) {
        // Another try would be shown the same one.
        throw new HubRetry.Unreachable(
            name + ": " + HubErrors.untrusted(at, certificate), certificate);
      }
      throw fault(name, "cannot reach " + settings.endpoint(), e);
    } catch (IOException e) {
      throw fault(name, "cannot reach " + settings.endpoint(), e);
    } catch (InterruptedException e) {
      throw HubRetry.interrupted(name, e);
    }
  }

  /**
   * A failed exchange as a fault that may pass; an interruption will not.
   *
   * @param what begins its message
   */
  Fault fault(HubName name, String what, IOException e) {
    if (e instanceof Fault fault) {
      return fault;
    }
    if (e instanceof InterruptedIOException) {
      throw HubRetry.interrupted(name, new InterruptedException());
    }
    String why = e.getMessage();
    if (e instanceof ConnectException) {
      why =
          e.getCause() instanceof UnresolvedAddressException
                  || (e.getCause() != null
                      && e.getCause().getCause() instanceof UnresolvedAddressException)
              ? "unknown host"
              : "no connection";
    } else if (e instanceof HttpTimeoutException) {
      why = "no answer within " + settings.timeout().toSeconds() + " s";
    }
    return new Fault(what + ": " + why, null, e);
  }

  private URI location(HubName name, URI at, HttpResponse<?> response) {
    Optional<String> location = response.headers().firstValue("Location");
    try {
      URI next = at.resolve(location.orElse(""));
      String scheme = next.getScheme();
      if (location.isPresent()
          && next.getHost() != null
          && ("https".equalsIgnoreCase(scheme)
              || "http".equalsIgnoreCase(scheme) && "http".equalsIgnoreCase(at.getScheme()))) {
        return next;
      }
    } catch (IllegalArgumentException e) {
      // Told below.
    }
    throw new InvalidInputException(
        name + ": " + at.getHost() + " redirects to no address: " + location.orElse("none"));
  }

  private static boolean isRedirect(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
  }

  /** The endpoint's own server, also where that asks for TLS. */
  private boolean isHub(URI uri) {
    URI hub = settings.endpoint();
    boolean secured = uri.getScheme().equalsIgnoreCase("https") && port(uri) == 443;
    return uri.getHost().equalsIgnoreCase(hub.getHost())
        && (uri.getScheme().equalsIgnoreCase(hub.getScheme()) && port(uri) == port(hub)
            || secured && port(hub) == 80);
  }

  private static int port(URI uri) {
    return uri.getPort() >= 0
        ? uri.getPort()
        : uri.getScheme().equalsIgnoreCase("https") ? 443 : 80;
  }

  private static String first(String known, HttpResponse<?> response, String header) {
    return known != null ? known : response.headers().firstValue(header).orElse(null);
  }

  /** Without quotes and the mark of a weak one. */
  private static String normalised(String etag) {
    return etag == null ? null : etag.strip().replaceFirst("^W/", "").replace("\"", "");
  }

  private static long length(String size) {
    return size != null && size.matches("[0-9]{1,18}") ? Long.parseLong(size) : -1;
  }

  private static Duration retryAfter(HttpResponse<?> response) {
    String value = response.headers().firstValue("Retry-After").orElse("").strip();
    if (value.matches("[0-9]{1,9}")) {
      return Duration.ofSeconds(Long.parseLong(value));
    }
    try {
      Instant until = Instant.from(DateTimeFormatter.RFC_1123_DATE_TIME.parse(value));
      Duration pause = Duration.between(Instant.now(), until);
      return pause.isNegative() ? Duration.ZERO : pause;
    } catch (DateTimeParseException e) {
      return null;
    }
  }
}
