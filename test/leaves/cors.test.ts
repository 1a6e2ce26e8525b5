import { describe, expect, test } from 'vitest';
import {
  addVary,
  assertOrigin,
  isPreflight,
  preflightFields,
  sharingFields,
} from '../../src/headers/cors.ts';
import { corsPolicy } from '../../src/http/cors.ts';
import type { ResumableOptions } from '../../src/index.ts';

const app = 'https://app.example.com';
const allowOrigin = 'Access-Control-Allow-Origin';

/** The fields for a request from `origin` under an option. */
const fieldsFor = (cors: ResumableOptions['cors'], origin?: string) => {
  const policy = corsPolicy(cors);
  if (policy === undefined) throw new Error('no policy');
  const req = { headers: origin === undefined ? {} : { origin } } as never;
  return { shared: sharingFields(policy, req), preflight: preflightFields(policy, req) };
};

describe('the fields of CORS', () => {
  test('for any origin are the same for all, and none is named', () => {
    for (const origin of [undefined, app, 'null', 'https://other.example.com']) {
      const { shared, preflight } = fieldsFor(true, origin);
      for (const fields of [shared, preflight]) {
        expect(fields[allowOrigin]).toBe('*');
        expect(fields).not.toHaveProperty('Vary');
        expect(fields).not.toHaveProperty('Access-Control-Allow-Credentials');
      }
    }
  });

  test.each<[string, ResumableOptions['cors']]>([
    ['a list', [app]],
    ['a function', (origin) => origin === app],
    ['a list in an object', { origins: [app] }],
  ])('for %s name an allowed origin, and tell caches so', (_what, cors) => {
    const { shared, preflight } = fieldsFor(cors, app);
    for (const fields of [shared, preflight])
      expect(fields).toMatchObject({ [allowOrigin]: app, Vary: 'Origin' });
    expect(shared['Access-Control-Expose-Headers']).toMatch(/^Range, Location, ETag, Retry-After,/);
    for (const other of [
      undefined,
      'null',
      'https://app.example.com.evil.com',
      `${app}:8443`,
      'http://app.example.com',
    ]) {
      expect(fieldsFor(cors, other)).toEqual({ shared: { Vary: 'Origin' }, preflight: { Vary: 'Origin' } });
    }
  });

  test('never name `null`, whatever a function says, and take no promise for an answer', () => {
    expect(fieldsFor(() => true, 'null').shared).toEqual({ Vary: 'Origin' });
    expect(fieldsFor((async () => false) as never, app).shared).toEqual({ Vary: 'Origin' });
  });

  test('a function is shown the request', () => {
    const policy = corsPolicy((_origin, req) => req.url === '/open');
    if (policy === undefined) throw new Error('no policy');
    const asked = (url: string) => sharingFields(policy, { url, headers: { origin: app } } as never);
    expect(asked('/open')[allowOrigin]).toBe(app);
    expect(asked('/shut')).toEqual({ Vary: 'Origin' });
  });

  test('say what else the application allows and exposes, and for how long', () => {
    const cors = {
      origins: [app],
      credentials: true,
      maxAgeMs: 90_500,
      allowHeaders: ['X-Token'],
      exposeHeaders: ['X-Kind'],
    };
    const { shared, preflight } = fieldsFor(cors, app);
    expect(shared['Access-Control-Expose-Headers']).toMatch(/, X-Kind$/);
    expect(shared['Access-Control-Allow-Credentials']).toBe('true');
    expect(preflight).toMatchObject({
      'Access-Control-Allow-Credentials': 'true',
      'Access-Control-Allow-Methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
      'Access-Control-Max-Age': '90',
    });
    expect(preflight['Access-Control-Allow-Headers']).toMatch(/^Authorization, .*, X-Token$/);
  });

  test('an option that would allow another than it seems to is refused', () => {
    for (const cors of [
      { origins: true, credentials: true },
      {},
      { credentials: true },
      null,
      'https://app.example.com',
      ['*'],
      ['null'],
      [app, `${app}/`],
      { origins: [app], maxAgeMs: -1 },
      { origins: [app], maxAgeMs: Number.NaN },
      { origins: [app], allowHeaders: ['X-Token\r\nX: 1'] },
      { origins: [app], exposeHeaders: ['A, B'] },
    ]) {
      expect(() => corsPolicy(cors as never), JSON.stringify(cors)).toThrow(
        expect.objectContaining({ code: 'invalid_argument' }),
      );
    }
    expect([corsPolicy(undefined), corsPolicy(false)]).toEqual([undefined, undefined]);
  });

  test('an origin is as a browser writes it', () => {
    for (const origin of [
      'https://a.example',
      'http://127.0.0.1:8080',
      'http://[::1]:1',
      'capacitor://localhost',
    ]) {
      expect(() => assertOrigin(origin)).not.toThrow();
    }
    for (const origin of [
      'https://A.example',
      'HTTPS://a.example',
      'https://a.example:443',
      'https://a.example/x',
      'https://me@a.example',
      'a.example',
      'https://',
      7,
    ]) {
      expect(() => assertOrigin(origin), String(origin)).toThrow(
        expect.objectContaining({ code: 'invalid_argument' }),
      );
    }
  });

  test('a preflight is an OPTIONS with both fields, and nothing else', () => {
    const headers = { origin: app, 'access-control-request-method': 'POST' };
    expect(isPreflight('OPTIONS', headers)).toBe(true);
    expect(isPreflight('POST', headers)).toBe(false);
    expect(isPreflight('OPTIONS', { origin: app })).toBe(false);
    expect(isPreflight('OPTIONS', { 'access-control-request-method': 'POST' })).toBe(false);
  });

  test.each([
    ['', 'Origin'],
    ['Accept-Encoding', 'Accept-Encoding, Origin'],
    ['accept, ORIGIN', 'accept, ORIGIN'],
    ['*', '*'],
    ['X-Origin', 'X-Origin, Origin'],
  ])('Vary %j becomes %j', (before, after) => {
    expect(addVary(before, 'Origin')).toBe(after);
  });
});
