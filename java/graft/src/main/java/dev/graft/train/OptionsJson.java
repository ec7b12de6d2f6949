package dev.graft.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.runtime.DType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;

/**
 * Options as {@code run.json} shows them to people: every value by its name, but not the callbacks.
 */
final class OptionsJson {
  private OptionsJson() {}

  static void write(TrainingOptions options, ObjectNode to) {
    for (RecordComponent component : TrainingOptions.class.getRecordComponents()) {
      Object value;
      try {
        value = component.getAccessor().invoke(options);
      } catch (IllegalAccessException | InvocationTargetException e) {
        throw new IllegalStateException(e);
      }
      if (value instanceof DType dtype) {
        to.put(component.getName(), dtype.label());
      } else if (value instanceof Boolean flag) {
        to.put(component.getName(), flag);
      } else if (value instanceof Double number) {
        to.put(component.getName(), number);
      } else if (value instanceof Number number) {
        to.put(component.getName(), number.longValue());
      } else if (value instanceof Schedule schedule) {
        to.put(component.getName(), schedule.name().toLowerCase(java.util.Locale.ROOT));
      }
    }
  }
}
