package dev.graft.io;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.regex.Pattern;

/**
 * A file of a model at a commit.
 *
 * @param path relative
 * @param etag its hash: SHA-256 of the content (64 digits; large files), or SHA-1 of the git blob
 *     (40 digits), which is that of {@code "blob <size>\0"} and the content
 * @param size bytes
 */
record HubFile(String path, String etag, long size) {
  private static final Pattern HASH = Pattern.compile("[0-9a-f]{40}|[0-9a-f]{64}");
  private static final int BUFFER = 1 << 16;

  static HubFile of(HubName name, String path, String etag, long size) {
    if (etag == null || !HASH.matcher(etag).matches()) {
      throw new InvalidInputException(
          name
              + ": "
              + path
              + ": the hub names no SHA-256 or SHA-1 to verify it by (ETag: "
              + (etag == null ? "none" : etag)
              + ")");
    }
    if (size < 0) {
      throw new InvalidInputException(name + ": " + path + ": the hub does not tell its size");
    }
    return new HubFile(path, etag, size);
  }

  boolean isLarge() {
    return etag.length() == 64;
  }

  /** The hash of what lies on the disk, which is what will be used, in the form of the ETag. */
  String hashOf(Path file) throws IOException {
    MessageDigest digest = digest();
    if (!isLarge()) {
      digest.update(("blob " + Files.size(file) + "\0").getBytes(StandardCharsets.US_ASCII));
    }
    try (InputStream in = Files.newInputStream(file)) {
      byte[] buffer = new byte[BUFFER];
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        digest.update(buffer, 0, n);
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private MessageDigest digest() {
    try {
      return MessageDigest.getInstance(isLarge() ? "SHA-256" : "SHA-1");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every Java has both
    }
  }
}
