package dev.graft.io;

import java.net.URI;
import java.security.cert.CertificateException;

/** What an answer that is none means, and what can be done about it. */
final class HubErrors {
  private static final int LONGEST_QUOTE = 200;

  private HubErrors() {}

  /** Whether the same request may succeed a moment later. */
  static boolean isTransient(int status) {
    return status == 408
        || status == 429
        || status == 500
        || status == 502
        || status == 503
        || status == 504;
  }

  static String busy(HubSettings settings, URI at, int status) {
    String who = at.getHost();
    return status == 429
        ? who
            + " asks for fewer requests (429)"
            + (settings.token() == null ? ", and grants more with a token (HF_TOKEN)" : "")
        : who + " fails (" + status + ")";
  }

  /** What is wrong with the certificate a server showed; null if it is something else. */
  static CertificateException certificate(Throwable failed) {
    for (Throwable e = failed; e != null; e = e.getCause()) {
      if (e instanceof CertificateException certificate) {
        return certificate;
      }
    }
    return null;
  }

  static String untrusted(URI at, CertificateException certificate) {
    Throwable why = certificate;
    while (why.getCause() != null) {
      why = why.getCause();
    }
    return at.getScheme()
        + "://"
        + at.getRawAuthority()
        + " shows a certificate that Java does not trust ("
        + why.getMessage()
        + "); of a server of your own put it into a trust store and give"
        + " -Djavax.net.ssl.trustStore=FILE to Java (JAVA_OPTS)";
  }

  /**
   * A final refusal.
   *
   * @param file what was asked for; null for the model itself
   */
  static InvalidInputException refused(
      HubSettings settings, HubName name, String file, HubClient.Answer answer) {
    String code = answer.header("X-Error-Code");
    code = code == null ? "" : code;
    String what = name + ": " + (file == null ? "" : file + ": ");
    String hub = settings.endpoint().toString();
    boolean token = settings.token() != null;
    String said = answer.header("X-Error-Message");
    String quote =
        said == null || said.isBlank()
            ? ""
            : " (\"" + said.substring(0, Math.min(said.length(), LONGEST_QUOTE)) + "\")";
    String text =
        switch (answer.status()) {
          case 401, 403 -> {
            if (code.equals("GatedRepo")) {
              yield "the model is gated: accept its terms at "
                  + hub
                  + "/"
                  + name.repository()
                  + (token ? ", with the account of the token" : ", and set HF_TOKEN");
            }
            String how = " (" + answer.status() + ")";
            yield token
                ? hub
                    + " does not let this token have it"
                    + how
                    + ": check the spelling and HF_TOKEN"
                : "no such directory, and "
                    + hub
                    + " has no such public model"
                    + how
                    + ": check the spelling; a private or gated model needs HF_TOKEN";
          }
          case 404 -> {
            if (code.equals("RevisionNotFound")) {
              yield "the model has no revision '" + name.revision() + "' (404)";
            }
            yield file != null
                ? "the hub lists the file but does not have it (404)"
                : "no such directory, and " + hub + " has no such model (404): check the spelling";
          }
          default -> hub + " refuses (" + answer.status() + ")";
        };
    return new InvalidInputException(what + text + quote);
  }
}
