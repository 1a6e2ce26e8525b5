// The session URL is the start URL plus one query parameter, so that the same route, router and middleware
// sees every later request. URLs are taken apart as text: what the application gets back is its own, to the
// byte.

/** The parameter's values, and the URL without it. */
export const splitSessionUrl = (
  url: string,
  parameter: string,
): { token: string | undefined; plain: string } => {
  const question = url.indexOf('?');
  if (question === -1) return { token: undefined, plain: url };
  let token: string | undefined;
  const rest: string[] = [];
  for (const pair of url.slice(question + 1).split('&')) {
    if (pair === parameter || pair.startsWith(`${parameter}=`)) token = pair.slice(parameter.length + 1);
    else rest.push(pair);
  }
  if (token === undefined) return { token, plain: url };
  const path = url.slice(0, question);
  return { token, plain: rest.length === 0 ? path : `${path}?${rest.join('&')}` };
};

/** A reference of path and query only: behind a proxy that ends TLS, nobody here knows scheme and host. */
export const sessionUrl = (plain: string, parameter: string, token: string): string => {
  const target = originForm(plain);
  return `${target}${target.includes('?') ? '&' : '?'}${parameter}=${token}`;
};

/** The path of a request target, without its query. */
export const pathOf = (url: string): string => originForm(url).replace(/\?.*$/s, '');

/** RFC 9112 section 3.2.1, whichever form came. */
const originForm = (url: string): string => {
  const target = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '').replace(/#.*$/s, '');
  // Two slashes at the start would make the first segment a host, and many a client reads `\` as one.
  const path = target.replace(/^[/\\]+/, '/');
  return path.startsWith('/') ? path : `/${path}`;
};
