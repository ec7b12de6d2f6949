package dev.graft.bindings.presets;

import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Properties;
import org.bytedeco.javacpp.tools.Info;
import org.bytedeco.javacpp.tools.InfoMap;
import org.bytedeco.javacpp.tools.InfoMapper;

/**
 * How JavaCPP maps graft.h: structs become classes, opaque handles pointers, enums int constants.
 *
 * <p>libgomp is loaded first and from one place, so that oneDNN, libtorch and Graft share one
 * thread pool: the loader takes a library by its soname once a process.
 */
@Properties(
    value =
        @Platform(
            value = "linux",
            include = "graft/graft.h",
            link = "graft@.1",
            preload = "gomp@.1"),
    target = "dev.graft.bindings",
    global = "dev.graft.bindings.global.graft")
public class graft implements InfoMapper {
  @Override
  public void map(InfoMap map) {
    map.put(new Info("GRAFT_API").cppTypes().annotations())
        .put(new Info("_WIN32", "GRAFT_BUILD").define(false))
        .put(new Info("__cplusplus").define(false))
        .put(
            new Info(
                    "graft_status",
                    "graft_dtype",
                    "graft_backend",
                    "graft_isa",
                    "graft_copy_kind",
                    "graft_activation")
                .cast()
                .valueTypes("int")
                .pointerTypes("IntPointer", "IntBuffer", "int[]"));
  }
}
