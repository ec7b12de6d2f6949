package dev.graft.io;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Tells the log of downloads. */
final class HubLog implements HubListener {
  private static final Logger LOG = LoggerFactory.getLogger(Hub.class);

  @Override
  public void onStart(String model, int files, long bytes, long done) {
    LOG.info("fetching {}: {} files, {} MB", model, files, (bytes - done) / 1_000_000);
  }

  @Override
  public void onNote(String text) {
    LOG.warn(text);
  }
}
