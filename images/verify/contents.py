"""Asks the image it runs in for everything it promises. Prints one JSON object of facts.

Run in the real sandbox, by `npm run images -- verify` and by the tests. It asserts
nothing: who reads the facts knows what is right for which image.
"""

import importlib
import json
import locale
import os
import shutil
import sys
import tempfile
import warnings

TEXT = {
    "accented": "àéîõü ŁłŐő ßþð",
    "han": "漢字汉字",
    "kana": "ひらがなカタカナ",
    "hangul": "한국어",
}
UNWANTED = "cc gcc g++ c++ clang ld make cmake curl wget nc ncat ssh scp telnet ftp rsync git".split()
MODULES = {
    "pillow": "PIL.Image",
    "scikit-learn": "sklearn.ensemble",
    "matplotlib": "matplotlib.pyplot",
    "lxml": "lxml.etree",
    "scipy": "scipy.stats",
    "ipython": "IPython.display",
}
PARTS = {
    "scipy": "cluster fft integrate interpolate io linalg ndimage optimize signal sparse.linalg spatial special".split()
}

# Before anything is imported that could leave something.
before = {place: sorted(os.listdir(place)) for place in ("/tmp", "/work")}
facts = {
    "python": "%d.%d.%d" % sys.version_info[:3],
    "encoding": [sys.getfilesystemencoding(), locale.getpreferredencoding(False), sys.stdout.encoding],
    "unwanted": [name for name in UNWANTED if shutil.which(name)],
    "threads": {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")},
    "imports": {},
}
for name in json.loads(sys.argv[1]):
    module = importlib.import_module(MODULES.get(name, name))
    for part in PARTS.get(name, ()):
        importlib.import_module(f"{name}.{part}")
    facts["imports"][name] = getattr(sys.modules[module.__name__.partition(".")[0]], "__version__", "")
facts["written by imports"] = {
    place: [name for name in os.listdir(place) if name not in before[place]] for place in before
}


def pixels_of(figure_text):
    figure = plt.figure(figsize=(4, 1))
    figure.text(0.05, 0.4, figure_text, fontsize=20)
    figure.canvas.draw()
    pixels = bytes(figure.canvas.buffer_rgba())
    plt.close(figure)
    return pixels


if "matplotlib" in facts["imports"]:
    import matplotlib.font_manager
    import matplotlib.pyplot as plt

    facts["backend"] = plt.get_backend()
    version = matplotlib.font_manager.FontManager.__version__
    facts["font list"] = os.path.isfile("/usr/share/pyexec/matplotlib/fontlist-v%s.json" % version)
    drawn = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name, text in TEXT.items():
            # The box of a missing glyph is the same whatever the character: two characters that
            # draw the same pixels are two boxes.
            drawn[name] = len({pixels_of(character) for character in text if character != " "})
    facts["glyphs"] = {name: drawn[name] == len(set(text) - {" "}) for name, text in TEXT.items()}
    facts["warnings"] = [str(warning.message) for warning in caught]
    # The control: a character no font has is a warning, and drawn as any other such.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        same = pixels_of("\U0010abcd") == pixels_of("\U0010abce")
    facts["control"] = {"warned": any("missing" in str(warning.message) for warning in caught), "same box": same}
    figure, axes = plt.subplots()
    axes.plot([1, 2, 4])
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("png", "svg", "pdf"):
            figure.savefig(os.path.join(folder, "figure." + kind))
        facts["figures"] = {name: os.path.getsize(os.path.join(folder, name)) > 1000 for name in os.listdir(folder)}
    facts["written by drawing"] = {
        place: [name for name in os.listdir(place) if name not in before[place]] for place in before
    }

if "numpy" in facts["imports"]:
    import numpy

    square = numpy.random.default_rng(1).random((400, 400))
    facts["product"] = bool(numpy.allclose(square @ numpy.linalg.inv(square), numpy.eye(400)))
    with open("/proc/self/status") as status:
        facts["threads after BLAS"] = int(next(line for line in status if line.startswith("Threads:")).split()[1])

print(json.dumps(facts))
