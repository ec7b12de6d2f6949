/** Trained networks at work: classes of texts, masked words, writing. */
package dev.graft.apply;
