package dev.graft.model;

import dev.graft.model.Parameters.Parameter;
import dev.graft.model.Parameters.Part;
import dev.graft.model.Recording.Layout;
import dev.graft.runtime.Tensor;

/** What {@link Lora} adds to one linear layer, or to one of several whose matrices are joined. */
final class LowRank {
  /** Dropout's draws: apart from those of the networks' own places. */
  private static final int FIRST_OP_ID = 1 << 24;

  final Part part;
  final Layout layout;
  final Parameter a; // [rank, in]
  final Parameter b; // [out, rank]
  final long firstColumn; // of the layer's output
  final float scale;
  final double dropout;
  final int opId;

  LowRank(Part part, Layout layout, Parameter a, Parameter b, Lora lora, int number) {
    this.part = part;
    this.layout = layout;
    this.a = a;
    this.b = b;
    this.firstColumn = layout == Layout.OUT_IN ? part.offset() / part.shape()[1] : 0;
    this.scale = (float) lora.scale();
    this.dropout = lora.dropout();
    this.opId = FIRST_OP_ID + number;
  }

  long in() {
    return a.weight().size(1);
  }

  long out() {
    return b.weight().size(0);
  }

  long rank() {
    return a.weight().size(0);
  }

  /** s B A, an element at a time, in the layout of the weight it is added to. */
  final class Product {
    private final int in = Math.toIntExact(in());
    private final int out = Math.toIntExact(out());
    private final int rank = Math.toIntExact(rank());
    private final float[] rows = b.weight().floats(); // [out, rank]
    private final float[] columns = transposed(a.weight()); // [in, rank]

    /** Adds the elements from {@code first} on to those of the weight, rounded once. */
    void addTo(long first, float[] values) {
      for (int e = 0; e < values.length; e++) {
        long at = first + e;
        int o = (int) (layout == Layout.OUT_IN ? at / in : at % out);
        int i = (int) (layout == Layout.OUT_IN ? at % in : at / out);
        double sum = 0;
        for (int k = 0; k < rank; k++) {
          sum += (double) rows[o * rank + k] * columns[i * rank + k];
        }
        values[e] = (float) (values[e] + scale * sum);
      }
    }

    private float[] transposed(Tensor matrix) {
      float[] from = matrix.floats();
      float[] to = new float[from.length];
      for (int k = 0; k < rank; k++) {
        for (int i = 0; i < in; i++) {
          to[i * rank + k] = from[k * in + i];
        }
      }
      return to;
    }
  }
}
