// How reports write figures.

export const times = (value: number): string => `${value.toFixed(2)}x`;

export const percent = (value: number): string => `${(value * 100).toFixed(0)}%`;

export const mebibytes = (value: number): string => `${value.toFixed(0)} MiB`;

export const milliseconds = (value: number): string => `${value.toFixed(1)} ms`;

/** In the largest unit that leaves a whole number. */
export const bytesText = (bytes: number): string => {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  let value = bytes;
  let unit = 0;
  while (unit < units.length - 1 && value >= 1024 && value % 1024 === 0) {
    value /= 1024;
    unit++;
  }
  return `${value} ${units[unit]}`;
};

export const count = (value: number): string => value.toLocaleString('en-US');
