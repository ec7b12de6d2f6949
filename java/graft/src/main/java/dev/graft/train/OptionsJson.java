package dev.graft.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import dev.graft.runtime.DType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.util.Locale;

/**
 * Options as a run's files keep them: every value by its name, but not the run directory, whether
 * it is resumed, and the callbacks.
 */
public final class OptionsJson {
  private OptionsJson() {}

  /** Puts every value but the caller's. */
  public static void write(TrainingOptions options, ObjectNode to) {
    for (RecordComponent component : TrainingOptions.class.getRecordComponents()) {
      if (isCallers(component.getName())) {
        continue;
      }
      Object value;
      try {
        value = component.getAccessor().invoke(options);
      } catch (IllegalAccessException | InvocationTargetException e) {
        throw new IllegalStateException(e);
      }
      if (value instanceof DType dtype) {
        to.put(component.getName(), dtype.label());
      } else if (value instanceof String text) {
        to.put(component.getName(), text);
      } else if (value instanceof Boolean flag) {
        to.put(component.getName(), flag);
      } else if (value instanceof Double number) {
        to.put(component.getName(), number);
      } else if (value instanceof Number number) {
        to.put(component.getName(), number.longValue());
      } else if (value instanceof Tuning tuning) {
        to.set(component.getName(), tuning.toJson());
      } else if (value instanceof Selection selection) {
        to.set(component.getName(), selection.toJson());
      } else if (value instanceof Objective objective) {
        to.set(component.getName(), objective.toJson());
      } else if (value instanceof Enum<?> constant) {
        to.put(component.getName(), constant.name().toLowerCase(Locale.ROOT));
      }
    }
  }

  /**
   * The options as they were written; the run directory and callbacks are the caller's.
   *
   * @param file named in messages
   * @param others its run directory, {@code resume} and callbacks are taken
   * @throws InvalidInputException naming the option that is missing or wrong
   */
  public static TrainingOptions read(Path file, JsonNode from, TrainingOptions others) {
    RecordComponent[] components = TrainingOptions.class.getRecordComponents();
    Class<?>[] types = new Class<?>[components.length];
    Object[] values = new Object[components.length];
    try {
      for (int i = 0; i < components.length; i++) {
        String name = components[i].getName();
        types[i] = components[i].getType();
        boolean callers = isCallers(name);
        values[i] =
            callers
                ? components[i].getAccessor().invoke(others)
                : value(file, name, types[i], from.path(name));
      }
      return TrainingOptions.class.getDeclaredConstructor(types).newInstance(values);
    } catch (InvocationTargetException e) {
      throw InvalidInputException.of(file, e.getCause().getMessage());
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }

  private static boolean isCallers(String name) {
    return switch (name) {
      case "runDirectory", "resume", "listener", "cancellation", "exchange" -> true;
      default -> false;
    };
  }

  private static Object value(Path file, String name, Class<?> type, JsonNode json) {
    if (type == boolean.class && json.isBoolean()) {
      return json.asBoolean();
    } else if (type == double.class && json.isNumber()) {
      return json.asDouble();
    } else if (type == long.class && json.isIntegralNumber()) {
      return json.asLong();
    } else if (type == int.class && json.canConvertToInt() && json.isIntegralNumber()) {
      return json.asInt();
    } else if (type == String.class && json.isTextual()) {
      return json.asText();
    } else if (type == Tuning.class) {
      return Tuning.fromJson(file, json);
    } else if (type == Selection.class) {
      return Selection.fromJson(file, json);
    } else if (type == Objective.class) {
      return Objective.fromJson(file, json);
    } else if (type.isEnum()) {
      for (Object constant : type.getEnumConstants()) {
        String spelled =
            constant instanceof DType dtype
                ? dtype.label()
                : constant.toString().toLowerCase(Locale.ROOT);
        if (spelled.equals(json.asText())) {
          return constant;
        }
      }
    }
    throw InvalidInputException.of(file, "options: " + name + ": cannot be " + json);
  }
}
