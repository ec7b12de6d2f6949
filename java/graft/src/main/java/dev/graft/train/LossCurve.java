package dev.graft.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.awt.Color;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The picture of a run: training and validation loss over steps, out of its metrics.jsonl. */
public final class LossCurve {
  private static final int WIDTH = 960;
  private static final int HEIGHT = 600;

  private LossCurve() {}

  /** Points of a curve. */
  private static final class Curve {
    final List<Double> steps = new ArrayList<>();
    final List<Double> losses = new ArrayList<>();
  }

  /**
   * Draws a PNG. Needs no screen.
   *
   * @param metrics a run's metrics.jsonl
   * @return false if there is no point to draw, or the Java installation has no fonts (logged)
   * @throws InvalidInputException if the file cannot be read or the picture not be written
   */
  public static boolean write(Path metrics, Path picture) {
    Curve training = new Curve();
    Curve validation = new Curve();
    read(metrics, training, validation);
    if (training.steps.isEmpty() && validation.steps.isEmpty()) {
      return false;
    }
    return ChartFile.write(() -> chart(training, validation), picture);
  }

  private static void read(Path metrics, Curve training, Curve validation) {
    try (BufferedReader reader = Files.newBufferedReader(metrics, StandardCharsets.UTF_8)) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        ObjectNode json = Json.parseObject(metrics, line.getBytes(StandardCharsets.UTF_8));
        if (json.path("loss").isNumber()) {
          Curve curve = json.path("type").asText().equals("eval") ? validation : training;
          curve.steps.add(json.path("step").asDouble());
          curve.losses.add(json.path("loss").asDouble());
        }
      }
    } catch (IOException e) {
      throw InvalidInputException.of(metrics, e);
    }
  }

  private static XYChart chart(Curve training, Curve validation) {
    XYChart chart =
        new XYChartBuilder()
            .width(WIDTH)
            .height(HEIGHT)
            .xAxisTitle("step")
            .yAxisTitle("loss")
            .build();
    chart.getStyler().setLegendPosition(LegendPosition.InsideNE);
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    add(chart, "training", training, new Color(0x4C72B0));
    add(chart, "validation", validation, new Color(0xDD8452));
    return chart;
  }

  private static void add(XYChart chart, String name, Curve curve, Color color) {
    if (!curve.steps.isEmpty()) {
      XYSeries series = chart.addSeries(name, curve.steps, curve.losses);
      series.setLineColor(color);
      series.setMarker(curve.steps.size() == 1 ? SeriesMarkers.CIRCLE : SeriesMarkers.NONE);
      series.setMarkerColor(color);
    }
  }
}
