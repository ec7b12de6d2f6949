package dev.graft.io;

import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.net.http.HttpResponse.BodySubscriber;
import java.net.http.HttpTimeoutException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Flow.Subscription;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * The body of an answer as a stream that gives up when nothing comes for some time; java.net.http
 * knows a limit only for the head.
 */
final class HubBody extends InputStream implements BodySubscriber<HubBody> {
  /** In place of a buffer: the body ended, well or not. */
  private static final ByteBuffer END = ByteBuffer.allocate(0);

  /** In place of a buffer: what was asked for is used up. */
  private static final ByteBuffer MORE = ByteBuffer.allocate(0);

  private final Duration silence;
  private final LinkedBlockingQueue<ByteBuffer> queue = new LinkedBlockingQueue<>();
  private volatile Subscription subscription;
  private volatile Throwable failure;
  private volatile boolean closed;
  private ByteBuffer current = ByteBuffer.allocate(0);
  private boolean ended;

  HubBody(Duration silence) {
    this.silence = silence;
  }

  @Override
  public CompletionStage<HubBody> getBody() {
    return CompletableFuture.completedFuture(this);
  }

  @Override
  public void onSubscribe(Subscription value) {
    subscription = value;
    if (closed) {
      value.cancel();
    } else {
      value.request(1);
    }
  }

  @Override
  public void onNext(List<ByteBuffer> buffers) {
    queue.addAll(buffers);
    queue.add(MORE);
  }

  @Override
  public void onError(Throwable cause) {
    failure = cause;
    queue.add(END);
  }

  @Override
  public void onComplete() {
    queue.add(END);
  }

  @Override
  public int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
  }

  @Override
  public int read(byte[] bytes, int from, int length) throws IOException {
    while (!current.hasRemaining()) {
      if (ended) {
        return -1;
      }
      next();
    }
    int count = Math.min(length, current.remaining());
    current.get(bytes, from, count);
    return count;
  }

  private void next() throws IOException {
    ByteBuffer next;
    try {
      next = queue.poll(silence.toMillis(), TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted");
    }
    if (next == null) {
      close();
      throw new HttpTimeoutException("nothing came for " + silence.toSeconds() + " s");
    }
    if (next == END) {
      ended = true;
      if (failure != null) {
        throw new IOException(
            failure.getMessage() == null ? "connection lost" : failure.getMessage(), failure);
      }
      return;
    }
    if (next == MORE) {
      subscription.request(1);
    }
    current = next;
  }

  @Override
  public void close() {
    closed = true;
    Subscription open = subscription;
    if (open != null) {
      open.cancel();
    }
  }
}
