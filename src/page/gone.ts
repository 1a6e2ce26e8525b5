/** Whether the server no longer has what an upload has become; while it does not answer, nobody says so. */
export const isGone = async (link: string): Promise<boolean> => {
  if (link === '') return false;
  try {
    const { status } = await fetch(link, { method: 'HEAD' });
    return status === 404 || status === 410;
  } catch {
    return false; // it is away
  }
};
