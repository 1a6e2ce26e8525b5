// How reports write figures.

export const times = (value: number): string => `${value.toFixed(2)}x`;

export const percent = (value: number): string => `${(value * 100).toFixed(0)}%`;

export const mebibytes = (value: number): string => `${value.toFixed(0)} MiB`;

export const milliseconds = (value: number): string => `${value.toFixed(1)} ms`;
