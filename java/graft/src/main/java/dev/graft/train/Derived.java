package dev.graft.train;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** Marks a field of the trainer that a checkpoint need not hold; the value says why not. */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.FIELD)
@interface Derived {
  String value();
}
