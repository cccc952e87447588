/** What a machine offers, read from what the system says. */
import os from 'node:os';
import { describe, expect, it } from 'vitest';
import { freeIndices, freeMemory, gpusHere, memoryHere } from '../../src/worker/resources.ts';

describe('GPUs', () => {
  it('F6: are those of the environment, else one for each device', () => {
    const devices = (): string[] => ['null', 'nvidia1', 'nvidia0', 'nvidia10', 'nvidiactl', 'nvidia-uvm'];
    expect(gpusHere({}, devices)).toEqual(['0', '1', '10']);
    expect(gpusHere({ CUDA_VISIBLE_DEVICES: '2,GPU-8a' }, devices)).toEqual(['2', 'GPU-8a']);
    expect(gpusHere({ CUDA_VISIBLE_DEVICES: '' }, devices)).toEqual([]);
    expect(gpusHere({ CUDA_VISIBLE_DEVICES: '-1' }, devices)).toEqual([]);
    expect(
      gpusHere({}, () => {
        throw new Error('no /dev');
      }),
    ).toEqual([]);
  });

  it('F6: are given by the lowest free indices', () => {
    expect(freeIndices(4, [], 2)).toEqual([0, 1]);
    expect(freeIndices(4, [[0], [2]], 2)).toEqual([1, 3]);
    expect(freeIndices(2, [[0, 1]], 1)).toEqual([]);
  });
});

describe('memory', () => {
  it('counts what the kernel could free, where it tells', () => {
    expect(freeMemory(() => 'MemTotal: 100 kB\nMemFree:  1 kB\nMemAvailable:     50 kB\n')).toBe(51_200);
    expect(freeMemory(() => 'MemTotal: 100 kB\n')).toBeGreaterThan(0);
  });

  it('is never more than the machine has', () => {
    expect(memoryHere()).toBeGreaterThan(0);
    expect(memoryHere()).toBeLessThanOrEqual(os.totalmem());
  });
});
