import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

// A self-signed certificate (RFC 5280), made where it is needed: no key is kept in the repository, and no program of
// the machine has to be there.

export interface Certificate {
  /** PEM, as `tls` wants it. */
  readonly key: string;
  readonly cert: string;
}

/** For `localhost`, good for an hour on both sides of now. */
export const selfSigned = (): Certificate => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = sequence(tagged(0x31, sequence(commonName, tagged(0x0c, Buffer.from('localhost')))));
  const serial = randomBytes(8);
  serial[0] = 0x40; // positive, and in its shortest form
  const signed = sequence(
    tagged(0x02, serial),
    ecdsaWithSha256,
    name,
    sequence(time(-hour), time(hour)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const signature = Buffer.concat([Buffer.of(0), sign('sha256', signed, privateKey)]);
  const certificate = sequence(signed, ecdsaWithSha256, tagged(0x03, signature));
  return { key: pemOf(privateKey), cert: pem('CERTIFICATE', certificate) };
};

const hour = 60 * 60 * 1000;

/** An ASN.1 value in DER: its tag, its length, its content. */
const tagged = (tag: number, ...content: readonly Uint8Array[]): Buffer => {
  const body = Buffer.concat(content);
  const { length } = body;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), body]);
};

const sequence = (...content: readonly Uint8Array[]): Buffer => tagged(0x30, ...content);

/** UTCTime. */
const time = (fromNow: number): Buffer => {
  const digits = new Date(Date.now() + fromNow).toISOString().replace(/[-:T]|\.\d+/g, '');
  return tagged(0x17, Buffer.from(digits.slice(2)));
};

/** 2.5.4.3 */
const commonName = tagged(0x06, Buffer.of(0x55, 0x04, 0x03));
/** 1.2.840.10045.4.3.2 */
const ecdsaWithSha256 = sequence(tagged(0x06, Buffer.of(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02)));

const pem = (label: string, der: Buffer): string => {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
};

const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();
