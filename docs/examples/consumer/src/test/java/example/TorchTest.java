package example;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.graft.runtime.Device;
import dev.graft.torch.FusedAdamW;
import dev.graft.torch.FusedAttention;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

/** libtorch's tensors: the fused kernels in place of PyTorch's functions. */
class TorchTest {
  @Test
  void fusedAttention_inPlaceOfScaledDotProductAttention() {
    try (PointerScope scope = new PointerScope();
        Device device = Device.cpu();
        FusedAttention attention = new FusedAttention(device)) {
      Tensor q = torch.randn(2, 4, 33, 64);
      Tensor k = torch.randn(2, 4, 33, 64);
      Tensor v = torch.randn(2, 4, 33, 64);
      Tensor own = attention.forward(q, k, v, false).out();
      Tensor theirs = torch.scaled_dot_product_attention(q, k, v);
      assertEquals(0, own.sub(theirs).abs().max().item_double(), 1e-5);
    }
  }

  @Test
  void fusedAdamW_inPlaceOfAnOptimizer_findsTheMinimum() {
    try (PointerScope scope = new PointerScope();
        Device device = Device.cpu()) {
      Tensor weight = torch.randn(8).set_requires_grad(true);
      FusedAdamW.Options options = new FusedAdamW.Options(0.1, 0.9, 0.999, 1e-8, 0, 0, true);
      try (FusedAdamW optimizer = new FusedAdamW(device, new TensorVector(weight), options)) {
        for (int step = 0; step < 300; step++) {
          weight.square().sum().backward();
          optimizer.step();
        }
      }
      assertEquals(0, weight.abs().max().item_double(), 1e-2);
    }
  }
}
