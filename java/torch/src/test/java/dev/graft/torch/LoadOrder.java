package dev.graft.torch;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeSet;
import org.bytedeco.javacpp.Loader;

/** Loads the presets in the order of the arguments and prints the OpenMP runtimes then mapped. */
final class LoadOrder {
  private LoadOrder() {}

  public static void main(String[] presets) throws Exception {
    for (String preset : presets) {
      switch (preset) {
        case "graft" -> Loader.load(dev.graft.bindings.global.graft.class);
        case "dnnl" -> Loader.load(org.bytedeco.dnnl.global.dnnl.class);
        case "torch" -> Loader.load(org.bytedeco.pytorch.global.torch.class);
        default -> throw new IllegalArgumentException("no preset " + preset);
      }
    }
    TreeSet<String> runtimes = new TreeSet<>();
    for (String line : Files.readAllLines(Path.of("/proc/self/maps"))) {
      // address permissions offset device inode path
      String[] fields = line.split("\\s+", 6);
      String path = fields.length == 6 ? fields[5] : "";
      String file = path.substring(path.lastIndexOf('/') + 1);
      if (List.of("libgomp", "libiomp", "libomp").stream().anyMatch(file::startsWith)) {
        runtimes.add(path);
      }
    }
    runtimes.forEach(path -> System.out.println("openmp " + path));
  }
}
