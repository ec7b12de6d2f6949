package dev.graft.io;

/** Hears how a download goes. Called on the thread that asked for the model. */
public interface HubListener {
  /**
   * Files are about to be fetched.
   *
   * @param model as it was asked for
   * @param bytes what there is to do, in all files together
   * @param done what an interrupted download left of it
   */
  default void onStart(String model, int files, long bytes, long done) {}

  /**
   * Bytes have come.
   *
   * @param file the one they belong to
   * @param done in all files together; less than before if a file had to be begun anew
   */
  default void onProgress(String file, long done) {}

  /** All files of {@link #onStart} are there, or (false) one of them failed. */
  default void onEnd(boolean complete) {}

  /** Something worth a line: a retry, a cached model used because the hub cannot be reached. */
  default void onNote(String text) {}
}
