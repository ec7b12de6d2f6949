/**
 * The first hour with Graft in a few minutes: a GPT learns to write and a BERT to read, on texts
 * that come with the library. Also an example of how the classes of {@code dev.graft} are used.
 */
package dev.graft.quickstart;
