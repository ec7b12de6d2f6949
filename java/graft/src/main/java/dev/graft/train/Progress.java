package dev.graft.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.io.Json;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;

/**
 * Everything of a run that changes from step to step besides weights and moments: what a
 * checkpoint's {@code state.json} holds. Every field is saved and read by its name, so none can be
 * forgotten; each is a long or a double (kept as its bits: JSON's numbers know no NaN, and a state
 * must come back exactly).
 */
final class Progress {
  /** Optimizer steps done, skipped ones included. */
  long step;

  /** Micro-steps done: the number of the next batch and of the next forward pass's random draws. */
  long microStep;

  /** The optimizer's own counters. */
  long adamSteps;

  long skippedSteps;
  long skippedInARow;

  /** Passes over the data done. */
  double epoch;

  /** Tokens trained on. */
  long tokens;

  /** Losses and the weights of their labels since the last report, of slot 0 and 1. */
  double lossSum0;

  double lossWeight0;
  double lossSum1;
  double lossWeight1;

  /** Loss of the last report. */
  double lastLoss = Double.NaN;

  double bestMetric = Double.NaN;

  /** Loss of the best evaluation; NaN if it had none. */
  double bestLoss = Double.NaN;

  long bestStep = -1;

  /** Steps done at the last evaluation; −1 before the first. */
  long evaluatedStep = -1;

  /** Metric of the last evaluation that counted as a gain, and evaluations since. */
  double gainedMetric = Double.NaN;

  long withoutGain;

  /** 1 once training ended for want of gains. */
  long stoppedEarly;

  /** Seconds of training, of earlier processes too. */
  double seconds;

  private static Field[] fields() {
    // The order of reflection may differ from one virtual machine to another.
    return Arrays.stream(Progress.class.getDeclaredFields())
        .filter(Progress::isState)
        .sorted(Comparator.comparing(Field::getName))
        .toArray(Field[]::new);
  }

  private static boolean isState(Field field) {
    return !Modifier.isStatic(field.getModifiers()) && !field.isSynthetic();
  }

  /** Every field, doubles as their bits. */
  long[] toLongs() {
    try {
      Field[] fields = fields();
      long[] values = new long[fields.length];
      for (int i = 0; i < fields.length; i++) {
        values[i] =
            fields[i].getType() == long.class
                ? fields[i].getLong(this)
                : Double.doubleToRawLongBits(fields[i].getDouble(this));
      }
      return values;
    } catch (IllegalAccessException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The reverse of {@link #toLongs}. */
  static Progress fromLongs(long[] values) {
    Progress progress = new Progress();
    try {
      Field[] fields = fields();
      for (int i = 0; i < fields.length; i++) {
        if (fields[i].getType() == long.class) {
          fields[i].setLong(progress, values[i]);
        } else {
          fields[i].setDouble(progress, Double.longBitsToDouble(values[i]));
        }
      }
    } catch (IllegalAccessException e) {
      throw new IllegalStateException(e);
    }
    return progress;
  }

  ObjectNode toJson() {
    ObjectNode json = Json.object();
    try {
      for (Field field : Progress.class.getDeclaredFields()) {
        if (isState(field)) {
          if (field.getType() == long.class) {
            json.put(field.getName(), field.getLong(this));
          } else if (field.getType() == double.class) {
            json.put(
                field.getName(), Long.toHexString(Double.doubleToLongBits(field.getDouble(this))));
          } else {
            throw new IllegalStateException(field + ": state is made of longs and doubles");
          }
        }
      }
    } catch (IllegalAccessException e) {
      throw new IllegalStateException(e);
    }
    return json;
  }

  static Progress fromJson(Path file, JsonNode json) {
    Progress progress = new Progress();
    try {
      for (Field field : Progress.class.getDeclaredFields()) {
        if (!isState(field)) {
          continue;
        }
        JsonNode value = json.get(field.getName());
        if (field.getType() == long.class && value != null && value.isIntegralNumber()) {
          field.setLong(progress, value.asLong());
        } else if (field.getType() == double.class && value != null && value.isTextual()) {
          field.setDouble(
              progress, Double.longBitsToDouble(Long.parseUnsignedLong(value.asText(), 16)));
        } else {
          throw InvalidInputException.of(
              file, "progress." + field.getName() + ": expected a number, got " + value);
        }
      }
    } catch (NumberFormatException e) {
      throw InvalidInputException.of(file, "progress: " + e.getMessage());
    } catch (IllegalAccessException e) {
      throw new IllegalStateException(e);
    }
    return progress;
  }
}
