package example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.graft.bindings.Status;
import dev.graft.bindings.global.graft;
import dev.graft.bindings.graft_attention_args;
import dev.graft.runtime.Address;
import dev.graft.runtime.Arena;
import dev.graft.runtime.DType;
import dev.graft.runtime.Device;
import dev.graft.runtime.Tensor;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.Test;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;
import org.nd4j.linalg.ops.transforms.Transforms;

/** Another engine's arrays, by their addresses: attention over two sequences of ND4J arrays. */
class Nd4jTest {
  private static final int HEADS = 2;
  private static final int HEAD_DIM = 16;
  private static final int[] OFFSETS = {0, 5, 12};

  @Test
  void attentionOnNd4jArrays_equalsNd4jsOwnProducts() {
    int tokens = OFFSETS[2];
    INDArray q = Nd4j.rand(DataType.FLOAT, tokens, HEADS, HEAD_DIM);
    INDArray k = Nd4j.rand(DataType.FLOAT, tokens, HEADS, HEAD_DIM);
    INDArray v = Nd4j.rand(DataType.FLOAT, tokens, HEADS, HEAD_DIM);
    INDArray out = Nd4j.create(DataType.FLOAT, tokens, HEADS, HEAD_DIM);
    INDArray lse = Nd4j.create(DataType.FLOAT, HEADS, tokens);

    try (Device device = Device.cpu();
        IntPointer offsets = new IntPointer(OFFSETS);
        graft_attention_args args = new graft_attention_args()) {
      Pointer.memset(args, 0, args.sizeof());
      args.struct_size(args.sizeof())
          .q(address(q))
          .k(address(k))
          .v(address(v))
          .out(address(out))
          .lse(Address.floats(lse.data().address()))
          .cu_seqlens_q(offsets)
          .cu_seqlens_k(offsets)
          .tokens_q(tokens)
          .tokens_k(tokens)
          .batch(2)
          .heads(HEADS)
          .head_dim(HEAD_DIM)
          .max_seqlen_q(7)
          .max_seqlen_k(7)
          .scale(0.25f)
          .dtype(graft.GRAFT_FLOAT32);
      try (LongPointer bytes = new LongPointer(1)) {
        Status.check(graft.graft_attention_workspace(device.context(), args, 0, bytes));
        // An arena's memory is aligned as workspaces have to be.
        try (Arena arena = new Arena(device, "workspace")) {
          Tensor workspace = arena.zeros("workspace", DType.FLOAT32, bytes.get() / Float.BYTES + 1);
          args.workspace(workspace.pointer()).workspace_bytes(bytes.get());
          Status.check(graft.graft_attention_forward(device.context(), args));
        }
      }
    }

    for (int s = 0; s < 2; s++) {
      for (int h = 0; h < HEADS; h++) {
        INDArray expected =
            Transforms.softmax(part(q, s, h).mmul(part(k, s, h).transpose()).mul(0.25))
                .mmul(part(v, s, h));
        double error = Transforms.abs(part(out, s, h).sub(expected)).maxNumber().doubleValue();
        assertEquals(0, error, 1e-5);
      }
    }
    assertTrue(Transforms.abs(out).maxNumber().doubleValue() > 0.1);
  }

  private static Pointer address(INDArray array) {
    return Address.of(array.data().address());
  }

  private static INDArray part(INDArray array, int sequence, int head) {
    return array
        .get(
            NDArrayIndex.interval(OFFSETS[sequence], OFFSETS[sequence + 1]),
            NDArrayIndex.point(head),
            NDArrayIndex.all())
        .dup();
  }
}
