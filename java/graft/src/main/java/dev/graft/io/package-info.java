/**
 * Files in and out: safetensors, model directories, JSON, atomic writes. Bytes from outside go
 * through limits here and end in an {@link dev.graft.io.InvalidInputException} if they are not what
 * they claim.
 */
package dev.graft.io;
