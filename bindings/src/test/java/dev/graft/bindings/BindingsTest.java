package dev.graft.bindings;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.graft.bindings.global.graft;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The way from Java to libgraft and back; oracle: graft.h. */
class BindingsTest {
  private graft_context context;

  @BeforeEach
  void createContext() {
    try (graft_context_options options = new graft_context_options();
        PointerPointer<graft_context> out = new PointerPointer<>(1)) {
      Pointer.memset(options, 0, options.sizeof());
      options.struct_size(options.sizeof()).backend(graft.GRAFT_CPU).threads(1);
      Status.check(graft.graft_context_create(options, out));
      context = out.get(graft_context.class);
    }
  }

  @AfterEach
  void destroyContext() {
    Status.check(graft.graft_context_destroy(context));
  }

  @Test
  void abiVersion_isTheHeaders() {
    assertThat(graft.graft_abi_version()).isEqualTo(graft.GRAFT_ABI_VERSION);
    assertThat(graft.graft_version().getString()).matches("\\d+\\.\\d+\\.\\d+");
  }

  @Test
  void otherAbiVersion_isRefusedByName() {
    assertThatThrownBy(() -> Status.requireAbi(graft.GRAFT_ABI_VERSION + 1))
        .isInstanceOf(UnsatisfiedLinkError.class)
        .hasMessageContaining("ABI version " + graft.GRAFT_ABI_VERSION)
        .hasMessageContaining("has " + (graft.GRAFT_ABI_VERSION + 1));
  }

  @Test
  void add_writesTheSum() {
    try (FloatPointer a = new FloatPointer(1f, 2f, 3f);
        FloatPointer b = new FloatPointer(10f, 20f, 30f);
        FloatPointer out = new FloatPointer(3);
        graft_add_args args = add(a, b, out, 3)) {
      Status.check(graft.graft_add(context, args));
      float[] sums = new float[3];
      out.get(sums);
      assertThat(sums).containsExactly(11f, 22f, 33f);
    }
  }

  @Test
  void badCount_becomesInvalidShapeWithOpAndArgument() {
    try (FloatPointer a = new FloatPointer(1);
        graft_add_args args = add(a, a, a, -1)) {
      GraftException e =
          catchThrowableOfType(
              GraftException.class, () -> Status.check(graft.graft_add(context, args)));
      assertThat(e).isInstanceOf(GraftException.InvalidShape.class).hasMessageContaining("-1");
      assertThat(e.status()).isEqualTo(graft.GRAFT_INVALID_SHAPE);
      assertThat(e.op()).hasValue("add");
      assertThat(e.argument()).hasValue("count");
    }
  }

  @Test
  void structOfAnotherSize_becomesInvalidArgument() {
    try (FloatPointer a = new FloatPointer(1);
        graft_add_args args = add(a, a, a, 1)) {
      args.struct_size(args.sizeof() - 8);
      assertThatThrownBy(() -> Status.check(graft.graft_add(context, args)))
          .isInstanceOf(GraftException.InvalidArgument.class)
          .hasMessageContaining("add");
    }
  }

  @Test
  void unalignedPointer_becomesInvalidAlignment() {
    try (FloatPointer a = new FloatPointer(4);
        graft_add_args args = add(a, a, a, 1)) {
      args.b(
          new Pointer(a) {
            {
              address += 1;
            }
          });
      GraftException e =
          catchThrowableOfType(
              GraftException.class, () -> Status.check(graft.graft_add(context, args)));
      assertThat(e).isInstanceOf(GraftException.InvalidAlignment.class);
      assertThat(e.argument()).hasValue("b");
    }
  }

  @Test
  void unknownDtype_becomesInvalidDtype() {
    try (FloatPointer a = new FloatPointer(1);
        graft_add_args args = add(a, a, a, 1)) {
      args.dtype(99);
      assertThatThrownBy(() -> Status.check(graft.graft_add(context, args)))
          .isInstanceOf(GraftException.InvalidDtype.class);
    }
  }

  @Test
  void everyStatus_hasItsException() {
    Map<Integer, Class<? extends GraftException>> kinds =
        Map.of(
            graft.GRAFT_INVALID_SHAPE, GraftException.InvalidShape.class,
            graft.GRAFT_INVALID_DTYPE, GraftException.InvalidDtype.class,
            graft.GRAFT_INVALID_ALIGNMENT, GraftException.InvalidAlignment.class,
            graft.GRAFT_INVALID_ARGUMENT, GraftException.InvalidArgument.class,
            graft.GRAFT_UNSUPPORTED, GraftException.Unsupported.class,
            graft.GRAFT_OUT_OF_MEMORY, GraftException.OutOfNativeMemory.class,
            graft.GRAFT_DEVICE_ERROR, GraftException.DeviceError.class,
            graft.GRAFT_DEVICE_LOST, GraftException.DeviceLost.class,
            graft.GRAFT_INTERNAL, GraftException.Internal.class);
    kinds.forEach(
        (status, kind) ->
            assertThatThrownBy(() -> Status.check(status))
                .as("%d", status)
                .isExactlyInstanceOf(kind));
    // A status this class does not know of would mean a newer header: the count says so here.
    assertThat(graft.graft_status_name(kinds.size()).getString()).isEqualTo("GRAFT_INTERNAL");
    assertThat(graft.graft_status_name(kinds.size() + 1).getString()).isEqualTo("unknown status");
  }

  @Test
  void messageWithoutAnArgument_givesNone() {
    GraftException e = new GraftException(1, "capture_begin: the CPU backend has no graphs");
    assertThat(e.op()).hasValue("capture_begin");
    assertThat(e.argument()).isEmpty();
    assertThat(new GraftException(1, "").op()).isEmpty();
  }

  @Test
  void missingPlugin_becomesUnsupportedWithTheLoadersWords(@TempDir Path folder) {
    String path = folder.resolve("libnone.so").toString();
    assertThatThrownBy(() -> Status.check(graft.graft_load_backend(graft.GRAFT_CUDA, path)))
        .isInstanceOf(GraftException.Unsupported.class)
        .hasMessageContaining(path);
  }

  @Test
  void libraries_areFoundByName() {
    assertThat(NativeLibraries.find("libgraft.so.1"))
        .hasValueSatisfying(p -> assertThat(p).isAbsolute().isRegularFile());
    assertThat(NativeLibraries.find("libnone.so.1")).isEmpty();
    // Built or not, the answer is a file or nothing.
    assertThat(NativeLibraries.cudaPlugin().stream().allMatch(Files::isRegularFile)).isTrue();
  }

  private static graft_add_args add(Pointer a, Pointer b, Pointer out, long count) {
    graft_add_args args = new graft_add_args();
    Pointer.memset(args, 0, args.sizeof());
    return args.struct_size(args.sizeof())
        .a(a)
        .b(b)
        .out(out)
        .count(count)
        .dtype(graft.GRAFT_FLOAT32);
  }
}
