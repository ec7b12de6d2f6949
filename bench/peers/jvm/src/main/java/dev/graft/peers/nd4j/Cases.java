package dev.graft.peers.nd4j;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import dev.graft.peers.Library;
import java.util.ArrayList;
import java.util.List;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.DynamicCustomOp;
import org.nd4j.linalg.api.ops.impl.transforms.strict.PreciseGELUDerivative;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Deeplearning4j's arrays on the CPU: its ops forward and backward. It has no causal attention and no
 * AdamW; Adam stands for that.
 */
public final class Cases implements Library {
  @Override
  public String version() {
    return "nd4j 1.0.0-M2.1 " + Nd4j.getBackend().getClass().getSimpleName();
  }

  @Override
  public void release() {
    System.gc(); // its only way to give memory back
  }

  @Override
  public Runnable prepare(JsonObject c) {
    Runnable run =
        switch (c.get("op").getAsString()) {
          case "attention" -> attention(c);
          case "activation" -> activation(c);
          case "add_norm" -> addNorm(c);
          case "classifier" -> classifier(c);
          case "gemm" -> product(c);
          case "adamw" -> adam(c);
          default -> throw new UnsupportedOperationException("nd4j: no case for " + c.get("op"));
        };
    run.run();
    return run;
  }

  /** [B, H, D, T], as its op wants them. */
  private static Runnable attention(JsonObject c) {
    if (flag(c, "causal")) {
      throw new UnsupportedOperationException("nd4j: no causal attention");
    }
    long[] shape = {size(c, "batch"), size(c, "heads"), size(c, "head_dim"), size(c, "tokens")};
    INDArray q = random(shape);
    INDArray k = random(shape);
    INDArray v = random(shape);
    INDArray dout = random(shape);
    boolean backward = flag(c, "backward");
    return () -> {
      Nd4j.nn().dotProductAttention(q, k, v, null, true);
      if (backward) {
        // The backward op computes the forward pass anew.
        Nd4j.exec(
            DynamicCustomOp.builder("dot_product_attention_bp")
                .addInputs(q, k, v, dout)
                .addIntegerArguments(1)
                .build());
      }
    };
  }

  private static Runnable activation(JsonObject c) {
    if (!c.get("form").getAsString().equals("erf")) {
      throw new UnsupportedOperationException("nd4j: the precise GELU alone");
    }
    INDArray x = random(size(c, "rows"), size(c, "channels"));
    INDArray bias = random(size(c, "channels"));
    INDArray dy = random(size(c, "rows"), size(c, "channels"));
    boolean backward = flag(c, "backward");
    return () -> {
      INDArray u = x.addRowVector(bias);
      Nd4j.nn().preciseGelu(u);
      if (backward) {
        INDArray dx = Nd4j.exec(new PreciseGELUDerivative(u)).muli(dy);
        dx.sum(0);
      }
    };
  }

  private static Runnable addNorm(JsonObject c) {
    INDArray x = random(size(c, "rows"), size(c, "channels"));
    INDArray residual = random(size(c, "rows"), size(c, "channels"));
    INDArray gamma = random(size(c, "channels"));
    INDArray beta = random(size(c, "channels"));
    INDArray out = random(size(c, "rows"), size(c, "channels"));
    INDArray dout = random(size(c, "rows"), size(c, "channels"));
    boolean backward = flag(c, "backward");
    return () -> {
      INDArray sum = x.add(residual);
      // Nd4j.nn().layerNorm mistakes the bias for its result.
      Nd4j.exec(
          DynamicCustomOp.builder("layer_norm")
              .addInputs(sum, gamma, beta)
              .addOutputs(out)
              .addIntegerArguments(1)
              .addBooleanArguments(false)
              .build());
      if (backward) {
        INDArray[] gradients =
            Nd4j.exec(
                DynamicCustomOp.builder("layer_norm_bp")
                    .addInputs(sum, gamma, beta, dout)
                    .addIntegerArguments(1)
                    .addBooleanArguments(false)
                    .build());
        gradients[0].sum(0);
      }
    };
  }

  private static Runnable classifier(JsonObject c) {
    INDArray logits = random(size(c, "rows"), size(c, "vocabulary"));
    INDArray targets =
        Nd4j.rand(DataType.FLOAT, size(c, "rows")).muli(size(c, "vocabulary")).castTo(DataType.INT);
    return () -> {
      Nd4j.loss().sparseSoftmaxCrossEntropy(logits, targets);
      Nd4j.exec(
          DynamicCustomOp.builder("sparse_softmax_cross_entropy_loss_with_logits_grad")
              .addInputs(targets, logits)
              .build());
    };
  }

  private static Runnable product(JsonObject c) {
    INDArray x = random(size(c, "m"), size(c, "k"));
    INDArray w = random(size(c, "n"), size(c, "k"));
    INDArray bias = random(size(c, "n"));
    return () -> x.mmul(w.transpose()).addiRowVector(bias);
  }

  private static Runnable adam(JsonObject c) {
    List<INDArray[]> all = new ArrayList<>();
    JsonArray sizes = c.getAsJsonArray("sizes");
    for (int i = 0; i < sizes.size(); i++) {
      long n = sizes.get(i).getAsLong();
      all.add(new INDArray[] {random(n), random(n), Nd4j.zeros(n), Nd4j.zeros(n), Nd4j.zeros(n)});
    }
    return () -> {
      for (INDArray[] p : all) {
        // weight, gradient, update, v, m
        Nd4j.exec(
            DynamicCustomOp.builder("adam_updater")
                .addInputs(p[1], p[3], p[4])
                .addOutputs(p[2], p[3], p[4])
                .addFloatingPointArguments(1e-4, 0.9, 0.999, 1e-8)
                .addIntegerArguments(1)
                .build());
        p[0].subi(p[2]);
      }
    };
  }

  private static INDArray random(long... shape) {
    return Nd4j.randn(DataType.FLOAT, shape);
  }

  private static long size(JsonObject c, String name) {
    return c.get(name).getAsLong();
  }

  private static boolean flag(JsonObject c, String name) {
    return c.has(name) && c.get(name).getAsBoolean();
  }
}
