package dev.graft.quickstart;

import dev.graft.quickstart.QuickstartResult.Arm;
import dev.graft.quickstart.QuickstartResult.Point;
import dev.graft.train.ChartFile;
import java.awt.Color;
import java.nio.file.Path;
import java.util.List;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Validation accuracy of the pretrained and of the fresh network while they are fine-tuned. */
final class FineTuningCurves {
  private FineTuningCurves() {}

  static void write(Arm transfer, Arm scratch, Path picture) {
    ChartFile.write(() -> chart(transfer, scratch), picture);
  }

  private static XYChart chart(Arm transfer, Arm scratch) {
    XYChart chart =
        new XYChartBuilder()
            .width(960)
            .height(600)
            .title("Few labels: pretrained and from scratch")
            .xAxisTitle("step of fine-tuning")
            .yAxisTitle("accuracy on validation questions, %")
            .build();
    chart.getStyler().setLegendPosition(LegendPosition.InsideSE);
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    chart.getStyler().setYAxisMin(0.0);
    add(chart, "pretrained", transfer.curve(), new Color(0x4C72B0));
    add(chart, "from scratch", scratch.curve(), new Color(0xDD8452));
    return chart;
  }

  private static void add(XYChart chart, String name, List<Point> curve, Color color) {
    List<Double> steps = curve.stream().map(point -> (double) point.step()).toList();
    List<Double> accuracies = curve.stream().map(point -> 100 * point.accuracy()).toList();
    XYSeries series = chart.addSeries(name, steps, accuracies);
    series.setLineColor(color);
    series.setMarker(SeriesMarkers.CIRCLE);
    series.setMarkerColor(color);
  }
}
