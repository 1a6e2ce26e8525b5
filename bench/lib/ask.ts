import type { Child } from './child.ts';

/** Asks a process one thing, by its name, and resolves with the answer. Rejects when it says that it failed. */
export const askFor = async <T>(
  child: Child,
  name: string,
  question: unknown,
  timeoutMs: number,
): Promise<T> => {
  const answer = (await child.ask({ [name]: question }, timeoutMs)) as Record<string, unknown>;
  if (answer.failed !== undefined) throw new Error(String(answer.failed));
  return answer[name] as T;
};
