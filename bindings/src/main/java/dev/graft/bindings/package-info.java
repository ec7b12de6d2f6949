/**
 * The C ABI of graft.h in Java: generated structs and functions ({@code global.graft}), and the
 * typed exceptions its statuses become.
 */
package dev.graft.bindings;
