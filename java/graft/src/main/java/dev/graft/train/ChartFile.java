package dev.graft.train;

import dev.graft.io.AtomicFiles;
import dev.graft.io.InvalidInputException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.function.Supplier;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.internal.chartpart.Chart;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A chart as a PNG. Needs no screen. */
public final class ChartFile {
  private static final Logger LOG = LoggerFactory.getLogger(ChartFile.class);

  private ChartFile() {}

  /**
   * Draws a chart into a file.
   *
   * @param chart makes it: its constructor already loads fonts
   * @return false if the Java installation lacks fonts or parts of AWT (logged)
   * @throws InvalidInputException if the file cannot be written
   */
  public static boolean write(Supplier<? extends Chart<?, ?>> chart, Path picture) {
    // Before the first class of AWT is loaded, which reads it once.
    if (System.getProperty("java.awt.headless") == null) {
      System.setProperty("java.awt.headless", "true");
    }
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    try {
      BitmapEncoder.saveBitmap(chart.get(), png, BitmapFormat.PNG);
    } catch (IOException e) {
      throw InvalidInputException.of(picture, e);
    } catch (LinkageError | InternalError | RuntimeException e) {
      // Slim Java installations. A run must not fail for a picture of numbers it keeps anyway.
      LOG.warn("{} was not drawn: {}", picture, e.toString());
      return false;
    }
    AtomicFiles.write(picture, png.toByteArray());
    return true;
  }
}
