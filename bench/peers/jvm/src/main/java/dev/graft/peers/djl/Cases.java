package dev.graft.peers.djl;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.norm.LayerNorm;
import ai.djl.training.GradientCollector;
import ai.djl.training.loss.Loss;
import ai.djl.training.optimizer.AdamW;
import ai.djl.training.tracker.Tracker;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import dev.graft.peers.Library;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/**
 * DJL on its PyTorch engine, eager. It has no fused attention, so that is two products and a softmax; its
 * GELU is erf's.
 */
public final class Cases implements Library {
  private NDManager memory = NDManager.newBaseManager();

  @Override
  public String version() {
    Engine engine = Engine.getInstance();
    return "djl " + Engine.getDjlVersion() + " " + engine.getEngineName() + " " + engine.getVersion();
  }

  @Override
  public void release() {
    memory.close();
    memory = NDManager.newBaseManager();
  }

  @Override
  public Runnable prepare(JsonObject c) {
    Runnable run =
        switch (c.get("op").getAsString()) {
          case "attention" -> attention(c);
          case "decode" -> decode(c);
          case "activation" -> activation(c);
          case "add_norm" -> addNorm(c);
          case "classifier" -> classifier(c);
          case "gemm" -> product(c);
          case "adamw" -> adamw(c);
          default -> throw new UnsupportedOperationException("djl: no case for " + c.get("op"));
        };
    run.run();
    return run;
  }

  private Runnable attention(JsonObject c) {
    long tokens = size(c, "tokens");
    Shape shape = new Shape(size(c, "batch"), size(c, "heads"), tokens, size(c, "head_dim"));
    NDArray q = random(shape);
    NDArray k = random(shape);
    NDArray v = random(shape);
    NDArray mask =
        flag(c, "causal")
            ? memory.ones(new Shape(tokens, tokens)).sub(lower(tokens)).mul(-1e9f)
            : null;
    return passes(
        c,
        new NDList(q, k, v),
        x -> {
          NDArray scores =
              x.get(0)
                  .matMul(x.get(1).transpose(0, 1, 3, 2))
                  .mul((float) (1 / Math.sqrt(shape.get(3))));
          NDArray seen = mask == null ? scores : scores.add(mask);
          return seen.softmax(-1).matMul(x.get(2));
        });
  }

  /** Ones on and under the diagonal. */
  private NDArray lower(long n) {
    NDArray places = memory.arange((int) n);
    return places.reshape(n, 1).gte(places.reshape(1, n)).toType(DataType.FLOAT32, false);
  }

  private Runnable decode(JsonObject c) {
    long batch = size(c, "batch");
    long heads = size(c, "heads");
    long dim = size(c, "head_dim");
    NDArray q = random(new Shape(batch, heads, 1, dim));
    NDArray k = random(new Shape(batch, heads, size(c, "cache"), dim));
    NDArray v = random(new Shape(batch, heads, size(c, "cache"), dim));
    return passes(
        c,
        new NDList(q, k, v),
        x ->
            x.get(0)
                .matMul(x.get(1).transpose(0, 1, 3, 2))
                .mul((float) (1 / Math.sqrt(dim)))
                .softmax(-1)
                .matMul(x.get(2)));
  }

  private Runnable activation(JsonObject c) {
    if (!c.get("form").getAsString().equals("erf")) {
      throw new UnsupportedOperationException("djl: GELU by erf alone");
    }
    NDArray x = random(new Shape(size(c, "rows"), size(c, "channels")));
    NDArray bias = random(new Shape(size(c, "channels")));
    return passes(c, new NDList(x, bias), in -> in.get(0).add(in.get(1)).getNDArrayInternal().gelu());
  }

  private Runnable addNorm(JsonObject c) {
    Shape shape = new Shape(size(c, "rows"), size(c, "channels"));
    Shape channels = new Shape(size(c, "channels"));
    return passes(
        c,
        new NDList(random(shape), random(shape), random(channels), random(channels)),
        x -> LayerNorm.layerNorm(x.get(0).add(x.get(1)), channels, x.get(2), x.get(3), 1e-5f).head());
  }

  private Runnable classifier(JsonObject c) {
    NDArray logits = random(new Shape(size(c, "rows"), size(c, "vocabulary")));
    NDArray targets =
        memory
            .randomInteger(0, size(c, "vocabulary"), new Shape(size(c, "rows")), DataType.INT64);
    Loss loss = Loss.softmaxCrossEntropyLoss();
    c.addProperty("backward", true);
    return passes(c, new NDList(logits), x -> loss.evaluate(new NDList(targets), x));
  }

  private Runnable product(JsonObject c) {
    NDArray x = random(new Shape(size(c, "m"), size(c, "k")));
    NDArray w = random(new Shape(size(c, "n"), size(c, "k")));
    NDArray bias = random(new Shape(size(c, "n")));
    return passes(c, new NDList(x, w, bias), in -> in.get(0).matMul(in.get(1).transpose()).add(in.get(2)));
  }

  private Runnable adamw(JsonObject c) {
    AdamW optimizer = AdamW.builder().optLearningRateTracker(Tracker.fixed(1e-4f)).build();
    List<NDArray> weights = new ArrayList<>();
    List<NDArray> gradients = new ArrayList<>();
    JsonArray sizes = c.getAsJsonArray("sizes");
    for (int i = 0; i < sizes.size(); i++) {
      weights.add(random(new Shape(sizes.get(i).getAsLong())));
      gradients.add(random(new Shape(sizes.get(i).getAsLong())));
    }
    return () -> {
      for (int i = 0; i < weights.size(); i++) {
        optimizer.update("w" + i, weights.get(i), gradients.get(i));
      }
    };
  }

  /** The function, and its backward pass where the case asks for one. */
  private Runnable passes(JsonObject c, NDList inputs, Function<NDList, NDArray> function) {
    if (!flag(c, "backward")) {
      return () -> {
        try (NDManager scope = memory.newSubManager()) {
          NDList in = new NDList(inputs);
          in.forEach(x -> x.tempAttach(scope));
          function.apply(in).close();
        }
      };
    }
    inputs.forEach(x -> x.setRequiresGradient(true));
    return () -> {
      try (NDManager scope = memory.newSubManager()) {
        NDList in = new NDList(inputs);
        in.forEach(x -> x.tempAttach(scope));
        try (GradientCollector collector = Engine.getInstance().newGradientCollector()) {
          collector.backward(function.apply(in).sum());
        }
      }
    };
  }

  private NDArray random(Shape shape) {
    return memory.randomNormal(shape);
  }

  private static long size(JsonObject c, String name) {
    return c.get(name).getAsLong();
  }

  private static boolean flag(JsonObject c, String name) {
    return c.has(name) && c.get(name).getAsBoolean();
  }
}
