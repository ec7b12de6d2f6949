package dev.graft.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_embedding_args;
import dev.graft.bindings.graft_embedding_backward_args;
import dev.graft.io.Json;
import dev.graft.runtime.Device;
import dev.graft.runtime.Philox;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorArrayRefOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Token + position + segment embedding and its three gradients against libtorch's embedding. */
public final class EmbeddingCase extends KernelCase {
  private final int tokens;
  private final int channels;
  private final int[] sizes;
  private final double[][] tables = new double[3][];
  private final int[][] ids = new int[3][];
  private final double[] dout;
  private final Tensor[] graftTables = new Tensor[3];
  private final Tensor[] grads = new Tensor[3];
  private final Tensor[] torchIds = new Tensor[3];
  private final IntPointer[] idPointers = new IntPointer[3];
  private final IntPointer[] orders = new IntPointer[3];
  private final Tensor out;
  private final Tensor tdout;
  private final graft_embedding_args forward = zeroed(new graft_embedding_args());
  private final graft_embedding_backward_args[] back = new graft_embedding_backward_args[3];

  public EmbeddingCase(
      Device device, int dtype, int tokens, int channels, int vocabulary, int positions) {
    super(device, dtype);
    this.tokens = tokens;
    this.channels = channels;
    this.sizes = new int[] {vocabulary, positions, 2};
    Philox random = new Philox(9, 0, 0);
    dout = Torch.normal(8, (long) tokens * channels, 1, type);
    tdout = Torch.of(dout, type, tokens, channels);
    out = Torch.zeros(type, tokens, channels);
    for (int t = 0; t < 3; t++) {
      int size = sizes[t];
      tables[t] = Torch.normal(t, (long) size * channels, 1, type);
      graftTables[t] = Torch.of(tables[t], type, size, channels);
      grads[t] = Torch.zeros(Torch.F32, size, channels);
      int table = t;
      ids[t] =
          IntStream.range(0, tokens)
              .map(i -> table == 1 ? i % size : random.nextInt(size))
              .toArray();
      long[] wide = IntStream.of(ids[t]).asLongStream().toArray();
      torchIds[t] = Tensor.create(wide, tokens);
      idPointers[t] = new IntPointer(ids[t]);
      orders[t] =
          new IntPointer(
              IntStream.range(0, tokens)
                  .boxed()
                  .sorted(Comparator.comparingInt(i -> ids[table][i]))
                  .mapToInt(Integer::intValue)
                  .toArray());
      back[t] = zeroed(new graft_embedding_backward_args());
      back[t]
          .struct_size(back[t].sizeof())
          .ids(idPointers[t])
          .order(orders[t])
          .dout(Torch.address(tdout))
          .dtable(new FloatPointer(grads[t].data_ptr()))
          .tokens(tokens)
          .channels(channels)
          .rows(size)
          .dtype(dtype);
    }
    forward
        .struct_size(forward.sizeof())
        .ids(idPointers[0])
        .positions(idPointers[1])
        .types(idPointers[2])
        .token_table(Torch.address(graftTables[0]))
        .position_table(Torch.address(graftTables[1]))
        .type_table(Torch.address(graftTables[2]))
        .out(Torch.address(out))
        .tokens(tokens)
        .channels(channels)
        .token_rows(vocabulary)
        .position_rows(positions)
        .type_rows(2)
        .dtype(dtype);
  }

  @Override
  public String op() {
    return "embedding forward+backward";
  }

  @Override
  public String shape() {
    return String.format("T%d C%d V%d", tokens, channels, sizes[0]);
  }

  @Override
  public Map<String, double[]> reference(ScalarType precision) {
    Tensor[] leaves = new Tensor[3];
    for (int t = 0; t < 3; t++) {
      leaves[t] = Torch.leaf(tables[t], precision, sizes[t], channels);
    }
    Tensor result = sum(leaves);
    result.mul(Torch.of(dout, precision, tokens, channels)).sum().backward();
    Map<String, double[]> results = new LinkedHashMap<>();
    results.put("out", Torch.values(result));
    for (int t = 0; t < 3; t++) {
      results.put("dtable" + t, Torch.values(leaves[t].grad()));
    }
    return results;
  }

  private Tensor sum(Tensor[] from) {
    return torch
        .embedding(from[0], torchIds[0])
        .add(torch.embedding(from[1], torchIds[1]))
        .add(torch.embedding(from[2], torchIds[2]));
  }

  @Override
  public Map<String, double[]> results() {
    for (Tensor grad : grads) {
      grad.zero_();
    }
    runGraft();
    Map<String, double[]> results = new LinkedHashMap<>();
    results.put("out", Torch.values(out));
    for (int t = 0; t < 3; t++) {
      results.put("dtable" + t, Torch.values(grads[t]));
    }
    return results;
  }

  @Override
  public void runGraft() {
    check(graft.graft_embedding_forward(context, forward));
    for (graft_embedding_backward_args args : back) {
      check(graft.graft_embedding_backward(context, args));
    }
  }

  @Override
  public ObjectNode pytorch() {
    return Json.object()
        .put("op", "embedding")
        .put("tokens", tokens)
        .put("channels", channels)
        .put("vocabulary", sizes[0])
        .put("positions", sizes[1]);
  }

  @Override
  public void runTorch() {
    Tensor[] leaves = new Tensor[3];
    for (int t = 0; t < 3; t++) {
      leaves[t] = graftTables[t].detach().set_requires_grad(true);
    }
    sum(leaves).backward(tdout, new BoolOptional(), false, new TensorArrayRefOptional());
  }

  @Override
  public double bytes() {
    double element = (double) tokens * channels;
    return element * elementBytes() * 4 + 3 * element * (elementBytes() + 8);
  }

  @Override
  public void close() {
    forward.close();
    for (int t = 0; t < 3; t++) {
      back[t].close();
      idPointers[t].close();
      orders[t].close();
    }
  }
}
