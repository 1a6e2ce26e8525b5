import assert from 'node:assert/strict';
import type { UploadRecord } from '../../../src/store.ts';
import { KiB } from '../content.ts';
import { assertRecord } from '../expect.ts';
import type { Scenario } from '../scenario.ts';
import { type Change, someClaim } from '../tracked-upload.ts';

// What is put into a record comes out of it, to the last code unit.

/** Every code unit that text can be made of, 4 KiB at a time. */
const everyCodeUnit = (from: number, to: number): Record<string, string> => {
  const metadata: Record<string, string> = {};
  for (let start = from; start < to; start += 4 * KiB) {
    const units = Array.from({ length: 4 * KiB }, (_, n) => start + n).filter((unit) => unit < to);
    metadata[`from ${start}`] = String.fromCharCode(...units);
  }
  return metadata;
};

/** As from a request that says so: an own key, not the prototype. */
const withOddKeys = (): Record<string, string> =>
  JSON.parse('{"__proto__":"a","constructor":"b","toString":"c","":"d","0":"e","a.b":"f","$set":"g"}');

const values: readonly (readonly [string, Partial<UploadRecord>])[] = [
  ['metadata of any text short of surrogates', { metadata: everyCodeUnit(0, 0xd800) }],
  ['metadata of the text beyond surrogates', { metadata: everyCodeUnit(0xe000, 0x10000) }],
  [
    'metadata of emoji and combined characters',
    { metadata: { '👩‍👩‍👧‍👦': '🇩🇪 e\u0301 ﷽', Ä: 'ä\u{10ffff}' } },
  ],
  ['metadata of line breaks and quotes', { metadata: { 'a\nb': '\r\n\u2028\u2029', '"': `\\"'\`\t` } }],
  ['metadata of NUL and other controls', { metadata: { '\0': '\u0001\u001f\u007f\u0085\ufeff\ufffe' } }],
  ['metadata of empty strings', { metadata: { '': '' } }],
  ['metadata of __proto__ and its kin', { metadata: withOddKeys() }],
  ['no metadata', { metadata: {} }],
  [
    'metadata of 200 names',
    { metadata: Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`n${n}`, `${n}`])) },
  ],
  ['a context of 20 KiB', { context: 'GET / HTTP/1.1\r\nÜ: \n'.repeat(KiB) }],
  ['a response of 90 KiB', { response: `{"body":"${'ü\n'.repeat(45 * KiB)}"}` }],
  ['empty texts', { context: '', response: '', digest: '' }],
  [
    'the greatest numbers there are',
    {
      createdAt: Number.MAX_SAFE_INTEGER,
      attempt: Number.MAX_SAFE_INTEGER,
      removedAt: Number.MAX_SAFE_INTEGER,
      claim: { owner: 'machine.1.1.a-1', expiresAt: Number.MAX_SAFE_INTEGER },
    },
  ],
  ['the least numbers there are', { createdAt: 0, attempt: 0, removedAt: 0, length: 0 }],
  ['yes and no', { refused: false, moved: true }],
  ['a digest', { digest: 'sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:' }],
];

const roundTrips = values.map(
  ([name, facts]): Scenario => ({
    name: `a record holds ${name}, as it is made and as it is changed`,
    run: async (stage) => {
      const [made, changed] = [stage.upload({ length: 0 }), stage.upload({ length: 0 })];
      await made.create(stage.store, facts);
      await changed.create(stage.store);
      await changed.update(stage.store, facts);
    },
  }),
);

/** Everything at once; `Required`, so that a field which is added to the contract is missed here. */
const full: Omit<Required<UploadRecord>, 'id'> = {
  createdAt: 1_700_000_000_000,
  state: 'claimed',
  length: 5000,
  digest: 'sha-256=:AAAA:',
  metadata: { name: 'film.mp4' },
  expiresAfterMs: 60_000,
  maxLength: 6000,
  context: '{"method":"POST"}',
  attempt: 3,
  claim: someClaim,
  response: '{"status":201}',
  refused: true,
  moved: true,
  removedAt: 1_700_000_000_001,
};

const optional = [
  'length',
  'digest',
  'expiresAfterMs',
  'maxLength',
  'context',
  'claim',
  'response',
  'refused',
  'moved',
  'removedAt',
] as const;

export const recordScenarios: readonly Scenario[] = [
  ...roundTrips,
  {
    name: 'a record holds lone surrogates as they are, or is refused as a whole',
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.create(store);
      const texts = ['\ud800', 'a\udfffb', '\udc00\ud800', '\ud83d'.repeat(100)];
      for (const text of texts) {
        const facts = { metadata: { [text]: text }, context: text, response: text };
        const isTaken = await store.update(upload.version, upload.changed(facts)).catch(() => false);
        if (isTaken) upload.adopt(upload.changed(facts));
        await upload.verify(store);
      }
    },
  },
  {
    name: 'a record holds every field at once, from its making and over changes of each',
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.createWhole(store, full);
      for (const field of Object.keys(full)) {
        await upload.update(store, { [field]: full[field as keyof typeof full] });
        await upload.verify(await stage.another());
      }
    },
  },
  {
    name: 'a field that an update leaves out is gone, and comes back with the next that has it',
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.create(store, full);
      for (const field of optional) {
        const without: Change = { [field]: undefined };
        await upload.update(store, without);
        const stored = await (await stage.another()).load(upload.id);
        assert.ok(stored);
        assertRecord(stored.record, upload.changed(without));
        await upload.update(store, { [field]: full[field] });
      }
      await upload.update(store, Object.fromEntries(optional.map((field) => [field, undefined])));
      await upload.update(store, { metadata: {} });
    },
  },
  {
    name: 'a record may shrink and grow from one version to the next',
    run: async (stage) => {
      const upload = stage.upload();
      await upload.create(stage.store);
      for (const size of [0, 50 * KiB, 1, 90 * KiB, 3, 10 * KiB, 0]) {
        await upload.update(stage.store, { context: 'c'.repeat(size), metadata: { size: String(size) } });
        await upload.verify(stage.store);
      }
    },
  },
];
