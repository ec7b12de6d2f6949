package dev.graft.train;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** Marks a field of the trainer that a checkpoint holds; the value says where. */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.FIELD)
@interface Saved {
  String value();
}
