import { createHash } from 'node:crypto';

/** Bytes as they arrived, in pieces that are never joined or changed: parts and objects share them. */
export class Content {
  readonly chunks: readonly Buffer[];
  readonly size: number;

  constructor(chunks: readonly Buffer[]) {
    this.chunks = chunks;
    this.size = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  static concat(contents: readonly Content[]): Content {
    return new Content(contents.flatMap(({ chunks }) => chunks));
  }

  slice(start: number, end: number): Content {
    const slices: Buffer[] = [];
    let offset = 0;
    for (const chunk of this.chunks) {
      const slice = chunk.subarray(Math.max(0, start - offset), Math.max(0, end - offset));
      if (slice.length > 0) slices.push(slice);
      offset += chunk.length;
      if (offset >= end) break;
    }
    return new Content(slices);
  }

  md5(): Buffer {
    const sum = createHash('md5');
    for (const chunk of this.chunks) sum.update(chunk);
    return sum.digest();
  }

  toBuffer(): Buffer {
    return Buffer.concat(this.chunks, this.size);
  }
}
