package dev.graft.bench;

import dev.graft.train.ChartFile;
import java.awt.Color;
import java.awt.Font;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.knowm.xchart.HorizontalBarChart;
import org.knowm.xchart.HorizontalBarChartBuilder;
import org.knowm.xchart.style.Styler.LegendPosition;

/** How many times as fast as its peers each kernel is, as bars. */
final class RatioChart {
  private static final int WIDTH = 1000;
  private static final int MARGIN = 120;
  private static final int BAR = 16;
  private static final int FONT = 11;

  /** Longer bars are cut here: they would leave no room to tell the others apart. */
  private static final double LONGEST = 8;

  private RatioChart() {}

  /** Draws a PNG; false if this Java installation cannot. */
  static boolean write(List<KernelBench.Result> results, Path picture) {
    return ChartFile.write(() -> chart(results), picture);
  }

  private static HorizontalBarChart chart(List<KernelBench.Result> results) {
    boolean official = results.stream().anyMatch(r -> !Double.isNaN(r.peerSeconds()));
    int bars = official ? 2 : 1;
    HorizontalBarChart chart =
        new HorizontalBarChartBuilder()
            .width(WIDTH)
            .height(MARGIN + results.size() * (bars * BAR + BAR / 2))
            .xAxisTitle("times as fast (bars end at " + (int) LONGEST + ")")
            .build();
    chart.getStyler().setLegendPosition(LegendPosition.OutsideS);
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    chart.getStyler().setXAxisMin(0.0).setXAxisMax(LONGEST);
    // Every bar its name.
    chart.getStyler().setXAxisMaxLabelCount(results.size());
    chart.getStyler().setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, FONT));
    List<String> names = new ArrayList<>();
    List<Double> libtorch = new ArrayList<>();
    List<Double> peer = new ArrayList<>();
    for (KernelBench.Result r : results) {
      names.add(r.op() + " " + r.dtype() + " " + r.shape());
      libtorch.add(Math.min(LONGEST, r.ratio()));
      peer.add(Double.isNaN(r.peerRatio()) ? 0 : Math.min(LONGEST, r.peerRatio()));
    }
    chart.addSeries("libtorch of the preset", libtorch, names).setFillColor(new Color(0xDD8452));
    if (official) {
      chart.addSeries(title(results), peer, names).setFillColor(new Color(0x4C72B0));
    }
    return chart;
  }

  private static String title(List<KernelBench.Result> results) {
    String name =
        results.stream()
            .map(KernelBench.Result::peer)
            .filter(p -> p != null)
            .findFirst()
            .orElse("");
    return name.equals("pytorch") ? "official PyTorch" : name;
  }
}
