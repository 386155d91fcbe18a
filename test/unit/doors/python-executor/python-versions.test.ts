import { describe, expect, it } from 'vitest';
import { imageForVersion, imagesByVersion } from '../../../../src/doors/python-executor/python-versions.ts';

const image = (reference: string, python?: string, isDefault = false) => ({
  reference,
  isDefault,
  labels: python === undefined ? {} : { 'pyexec.python': python },
});

describe('which image a python_version means', () => {
  it('is said by the labels of the images', () => {
    const images = [image('pyexec/slim:abc', '3.13.4'), image('pyexec/slim:latest', '3.13.5'), image('other:latest')];
    expect([...imagesByVersion(images, [])]).toEqual([['3.13', 'pyexec/slim:latest']]);
  });

  it('is the default image where several hold that version, whatever the order', () => {
    const images = [
      image('pyexec/slim:latest', '3.13.5'),
      image('pyexec/data:latest', '3.13.5', true),
      image('pyexec/data:3.13', '3.13.5'),
      image('mine:latest', '3.13.1'),
    ];
    expect([...imagesByVersion(images, [])]).toEqual([['3.13', 'pyexec/data:latest']]);
    expect([...imagesByVersion(images.toReversed(), [])]).toEqual([['3.13', 'pyexec/data:latest']]);
  });

  it('is another version of the default image before any other image', () => {
    const images = [
      image('pyexec/slim:3.11', '3.11.2'),
      image('mine:latest', '3.11.9'),
      image('pyexec/data:older', '3.11.1'),
      image('pyexec/data:3.11', '3.11.2'),
      image('pyexec/data:latest', '3.13.5', true),
    ];
    for (const listed of [images, images.toReversed()]) {
      expect(imagesByVersion(listed, []).get('3.11')).toBe('pyexec/data:3.11');
    }
  });

  it('is said by the operator, as far as the image is there', () => {
    const images = [image('pyexec/slim:latest', '3.13.5'), image('python:3.12-slim'), image('mine:latest')];
    const table = imagesByVersion(images, [
      ['3.13', 'docker.io/library/mine'],
      ['3.12', 'docker.io/library/python:3.12-slim'],
      ['3.11', 'python:3.11-slim'],
    ]);
    expect([...table]).toEqual([
      ['3.13', 'docker.io/library/mine'],
      ['3.12', 'docker.io/library/python:3.12-slim'],
    ]);
  });

  it('is not the image of the label where the operator says another that is not there', () => {
    expect([...imagesByVersion([image('pyexec/slim:latest', '3.13.5')], [['3.13', 'gone']])]).toEqual([]);
  });
});

describe('difference: `python_version`', () => {
  const available = new Map([
    ['3.13', 'b'],
    ['3.9', 'a'],
    ['3.14', 'c'],
  ]);

  it('the image', () => {
    expect(imageForVersion('3.14', available)).toBe('c');
  });

  it.each<[string, string]>([
    ['2.7', '"2.7"'],
    ['3', '"3"'],
    ['a"b', String.raw`"a\"b"`],
  ])('%s is refused with what there is', (version, quoted) => {
    expect(() => imageForVersion(version, available)).toThrow(
      `unsupported python_version ${quoted}; supported versions: 3.9, 3.13, 3.14`,
    );
  });
});
