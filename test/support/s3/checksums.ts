import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Content } from './content.ts';

/** Those the double computes. S3 knows more by now (SHA-512, MD5, XXHash): their headers are unknown here. */
export const checksumAlgorithms = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const;
export type ChecksumAlgorithm = (typeof checksumAlgorithms)[number];
export type ChecksumType = 'COMPOSITE' | 'FULL_OBJECT';

export interface Checksum {
  readonly algorithm: ChecksumAlgorithm;
  /** In base64; a composite one ends in `-` and the number of its parts. */
  readonly value: string;
  readonly type: ChecksumType;
}

export const checksumHeader = (algorithm: ChecksumAlgorithm): string =>
  `x-amz-checksum-${algorithm.toLowerCase()}`;

export const checksumElement = (algorithm: ChecksumAlgorithm): string => `Checksum${algorithm}`;

export const isChecksumAlgorithm = (name: string | undefined): name is ChecksumAlgorithm =>
  (checksumAlgorithms as readonly (string | undefined)[]).includes(name);

export const checksumLength: Readonly<Record<ChecksumAlgorithm, number>> = {
  CRC32: 4,
  CRC32C: 4,
  CRC64NVME: 8,
  SHA1: 20,
  SHA256: 32,
};

/** A CRC64NVME is always of the whole, and of a multipart object a SHA never. */
export const onlyType: Readonly<Partial<Record<ChecksumAlgorithm, ChecksumType>>> = {
  CRC64NVME: 'FULL_OBJECT',
  SHA1: 'COMPOSITE',
  SHA256: 'COMPOSITE',
};

export interface Hasher {
  update(bytes: Uint8Array): void;
  digest(): Buffer;
}

const crc32Hasher = (): Hasher => {
  let crc = 0;
  return {
    update(bytes) {
      crc = crc32(bytes, crc);
    },
    digest: () => toBytes(BigInt(crc), 4),
  };
};

const toBytes = (value: bigint, length: number): Buffer =>
  Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');

const reflectedPolynomial: Readonly<Partial<Record<ChecksumAlgorithm, bigint>>> = {
  CRC32: 0xedb88320n,
  CRC32C: 0x82f63b78n,
  CRC64NVME: 0x9a6c9329ac4bc9b5n,
};

/**
 * A 64-bit register in two halves, eight bytes a step: `tables[k]` is the effect of a byte that `k` more follow. A
 * 32-bit CRC is the same with the upper half always zero.
 */
const slicedHasher = (polynomial: bigint, length: 4 | 8): (() => Hasher) => {
  const high = new Uint32Array(8 * 256);
  const low = new Uint32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = BigInt(byte);
    for (let k = 0; k < 8; k++) {
      for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ polynomial : crc >> 1n;
      high[k * 256 + byte] = Number(crc >> 32n);
      low[k * 256 + byte] = Number(crc & 0xffff_ffffn);
    }
  }
  return () => {
    let h = length === 8 ? -1 : 0;
    let l = -1;
    return {
      update(bytes) {
        let i = 0;
        for (const whole = bytes.length - 7; i < whole; i += 8) {
          const a = l ^ (bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24));
          const b =
            h ^ (bytes[i + 4]! | (bytes[i + 5]! << 8) | (bytes[i + 6]! << 16) | (bytes[i + 7]! << 24));
          const i7 = 1792 + (a & 255);
          const i6 = 1536 + ((a >>> 8) & 255);
          const i5 = 1280 + ((a >>> 16) & 255);
          const i4 = 1024 + (a >>> 24);
          const i3 = 768 + (b & 255);
          const i2 = 512 + ((b >>> 8) & 255);
          const i1 = 256 + ((b >>> 16) & 255);
          const i0 = b >>> 24;
          l = low[i7]! ^ low[i6]! ^ low[i5]! ^ low[i4]! ^ low[i3]! ^ low[i2]! ^ low[i1]! ^ low[i0]!;
          if (length === 8) {
            h = high[i7]! ^ high[i6]! ^ high[i5]! ^ high[i4]! ^ high[i3]! ^ high[i2]! ^ high[i1]! ^ high[i0]!;
          }
        }
        for (; i < bytes.length; i++) {
          const index = (l ^ bytes[i]!) & 255;
          l = ((l >>> 8) | (h << 24)) ^ low[index]!;
          h = (h >>> 8) ^ high[index]!;
        }
      },
      digest() {
        const result = Buffer.alloc(8);
        result.writeInt32BE(~h, 0);
        result.writeInt32BE(~l, 4);
        return result.subarray(8 - length);
      },
    };
  };
};

const lazily = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
};

const crc32c = lazily(() => slicedHasher(0x82f63b78n, 4));
const crc64 = lazily(() => slicedHasher(0x9a6c9329ac4bc9b5n, 8));

export const hasher = (algorithm: ChecksumAlgorithm): Hasher => {
  if (algorithm === 'CRC32') return crc32Hasher();
  if (algorithm === 'CRC32C') return crc32c()();
  if (algorithm === 'CRC64NVME') return crc64()();
  return createHash(algorithm === 'SHA1' ? 'sha1' : 'sha256');
};

export const checksumOf = (content: Content, algorithm: ChecksumAlgorithm): string => {
  const sum = hasher(algorithm);
  for (const chunk of content.chunks) sum.update(chunk);
  return sum.digest().toString('base64');
};

/** Of a multipart object: the checksum of its parts' checksums. */
export const compositeChecksum = (
  algorithm: ChecksumAlgorithm,
  parts: readonly { readonly value: string }[],
): string => {
  const sum = hasher(algorithm);
  for (const { value } of parts) sum.update(Buffer.from(value, 'base64'));
  return `${sum.digest().toString('base64')}-${parts.length}`;
};

/** Of a multipart object as if it had been written in one go; only a CRC can be put together from its parts'. */
export const combinedChecksum = (
  algorithm: ChecksumAlgorithm,
  parts: readonly { readonly value: string; readonly size: number }[],
): string => {
  const polynomial = reflectedPolynomial[algorithm];
  if (polynomial === undefined) throw new TypeError(`${algorithm} cannot be combined`);
  const length = checksumLength[algorithm];
  const one = 1n << BigInt(length * 8 - 1);
  const multiply = (a: bigint, b: bigint): bigint => {
    let product = 0n;
    let shifted = b;
    for (let mask = one; mask > 0n; mask >>= 1n) {
      if (a & mask) product ^= shifted;
      shifted = shifted & 1n ? (shifted >> 1n) ^ polynomial : shifted >> 1n;
    }
    return product;
  };
  /** x to the power of eight times the bytes: what so many bytes after a CRC do to it. */
  const shiftBy = (bytes: number): bigint => {
    let result = one;
    let power = one >> 1n;
    for (let exponent = BigInt(bytes) * 8n; exponent > 0n; exponent >>= 1n) {
      if (exponent & 1n) result = multiply(result, power);
      power = multiply(power, power);
    }
    return result;
  };
  let combined = 0n;
  for (const { value, size } of parts) {
    const crc = BigInt(`0x${Buffer.from(value, 'base64').toString('hex')}`);
    combined = multiply(shiftBy(size), combined) ^ crc;
  }
  return toBytes(combined, length).toString('base64');
};
