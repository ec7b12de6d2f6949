package dev.graft.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.InvalidInputException;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** The state of a run is a closed list: nothing the trainer holds is forgotten by a checkpoint. */
class StateClosedTest {

  @Test
  void everyFieldOfTheTrainer_isSavedOrDeclaredDerived() {
    for (Field field : Trainer.class.getDeclaredFields()) {
      if (Modifier.isStatic(field.getModifiers()) || field.isSynthetic()) {
        continue;
      }
      boolean saved = field.isAnnotationPresent(Saved.class);
      boolean derived = field.isAnnotationPresent(Derived.class);
      assertThat(saved ^ derived)
          .as("Trainer.%s: say in which file it is @Saved or why it is @Derived", field.getName())
          .isTrue();
    }
  }

  @Test
  void everyFieldOfTheProgress_comesBackExactly() throws IllegalAccessException {
    Progress progress = new Progress();
    long value = 1;
    for (Field field : Progress.class.getDeclaredFields()) {
      if (Modifier.isStatic(field.getModifiers()) || field.isSynthetic()) {
        continue;
      }
      if (field.getType() == long.class) {
        field.setLong(progress, Long.MAX_VALUE - value);
      } else {
        field.setDouble(progress, value % 2 == 0 ? Double.NaN : -1.0 / value);
      }
      value++;
    }
    Progress back = Progress.fromJson(Path.of("state.json"), progress.toJson());
    for (Field field : Progress.class.getDeclaredFields()) {
      if (!Modifier.isStatic(field.getModifiers()) && !field.isSynthetic()) {
        assertThat(field.get(back)).as(field.getName()).isEqualTo(field.get(progress));
      }
    }
    assertThat(value).isGreaterThan(10);
  }

  @Test
  void aMissingField_isNamed() {
    ObjectNode json = new Progress().toJson();
    json.remove("microStep");
    assertThatThrownBy(() -> Progress.fromJson(Path.of("state.json"), json))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("progress.microStep");
  }
}
