import type { Readable } from 'node:stream';
import type { Representation } from './plan.ts';

/** A content that can be served: what is known of it, and the way to its bytes. */
export interface Entity extends Representation {
  /**
   * The bytes `[start, end)`, of which there is at least one. `end` is Infinity where the size is not known. A stream that
   * gives fewer or more than that ends the connection.
   */
  read(start: number, end: number): Readable;
  /** The same at once, for ranges of at most 64 KiB: spares a stream where one read does. */
  readBytes?(start: number, end: number): Promise<Uint8Array>;
  /** Called once, by `serve`, when nothing will be read any more. */
  close?(): Promise<void>;
}
