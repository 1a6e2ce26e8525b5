/**
 * Whether a `Prefer` field asks for `token` (RFC 7240 section 2). Preferences are separated by commas, their
 * parameters by semicolons; a quoted string may hold either, so it is stepped over, not split.
 */
export const prefers = (field: string, token: string): boolean => {
  // One that is not closed takes the rest of the field with it.
  const plain = field.replace(/"(?:[^"\\]|\\.)*("|\\?$)/g, '""');
  return plain.split(',').some((preference) => {
    const [name = ''] = preference.split(/[;=]/, 1);
    return name.trim().toLowerCase() === token;
  });
};
