package dev.graft.runtime;

import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Pointer;

/** A plain address as JavaCPP's pointer types want it; owns nothing. */
public final class Address extends Pointer {
  /** A pointer to {@code address}; 0 is NULL. */
  public Address(long address) {
    super((Pointer) null);
    this.address = address;
  }

  /** Points this to another address; for one object used many times. */
  Address moveTo(long to) {
    this.address = to;
    return this;
  }

  /** A pointer of any type to {@code address}, or null for 0. */
  public static Pointer of(long address) {
    return address == 0 ? null : new Address(address);
  }

  /** As float pointer, or null for 0. */
  public static FloatPointer floats(long address) {
    return address == 0 ? null : new FloatPointer(new Address(address));
  }

  /** As int pointer, or null for 0. */
  public static IntPointer ints(long address) {
    return address == 0 ? null : new IntPointer(new Address(address));
  }
}
