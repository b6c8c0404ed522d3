"""The official files of the built-in benchmarks: names, expected layouts, and where their owners publish them.

Imports nothing heavy, so that ``inlay evaluate`` can check a folder before it loads anything.
"""

from __future__ import annotations

from inlay.recipes.evaluation.benchmarks.official_files import OfficialFile, Published

__all__ = ["PUBLISHED"]

_COCO = ("val2014", "images/val2014", "images", ".")
_COCO_LAYOUT = "COCO's val2014 below the folder (https://cocodataset.org/#download)"
_POPE_LAYOUT = 'one JSON object a line: {"question_id", "image", "text", "label": "yes" or "no"}'


def _file(*names: str, layout: str, optional: bool = False) -> OfficialFile:
    return OfficialFile(names=names, layout=layout, optional=optional)


def _pope(part: str) -> OfficialFile:
    name = f"coco_pope_{part}.json"
    return _file(name, f"coco/{name}", f"output/coco/{name}", layout=_POPE_LAYOUT)


PUBLISHED: dict[str, Published] = {
    "pope": Published(
        title="POPE",
        owner="https://github.com/AoiDragon/POPE/tree/main/output/coco",
        files={part: _pope(part) for part in ("random", "popular", "adversarial")},
        media=_COCO,
        media_layout=_COCO_LAYOUT,
    ),
    "vqav2": Published(
        title="VQA v2",
        owner="https://visualqa.org/download.html",
        files={
            "questions": _file(
                "v2_OpenEnded_mscoco_val2014_questions.json",
                "v2_OpenEnded_mscoco_test-dev2015_questions.json",
                "v2_OpenEnded_mscoco_test2015_questions.json",
                layout='{"questions": [{"question_id", "image_id", "question"}]}',
            ),
            "annotations": _file(
                "v2_mscoco_val2014_annotations.json",
                layout='{"annotations": [{"question_id", "image_id", "question_type", "answer_type", '
                '"multiple_choice_answer", "answers": ten of {"answer"}}]}',
                optional=True,
            ),
        },
        media=("val2014", "test2015", "images/val2014", "images/test2015", "images", "."),
        media_layout="COCO's val2014 or test2015 below the folder (https://cocodataset.org/#download)",
    ),
    "gqa": Published(
        title="GQA",
        owner="https://cs.stanford.edu/people/dorarad/gqa/download.html",
        files={
            "questions": _file(
                "testdev_balanced_questions.json",
                "questions/testdev_balanced_questions.json",
                "questions1.2/testdev_balanced_questions.json",
                layout='{id: {"imageId", "question", "answer", "types": {"structural", "semantic", "detailed"}}}',
            )
        },
        media=("images", "."),
        media_layout="images/IMAGE_ID.jpg below the folder",
    ),
    "textvqa": Published(
        title="TextVQA",
        owner="https://textvqa.org/dataset/",
        files={
            "questions": _file(
                "TextVQA_0.5.1_val.json",
                "TextVQA_0.5.1_test.json",
                layout='{"data": [{"question_id", "image_id", "question", "answers": ten texts}]}',
            ),
            "ocr": _file(
                "llava_textvqa_val_v051_ocr.jsonl",
                layout='one JSON object a line: {"question_id": IMAGE_ID, "text": "QUESTION\\nReference OCR token: '
                '..."}, as in the eval.zip of LLaVA',
                optional=True,
            ),
        },
        media=("train_images", "train_val_images/train_images", "test_images", "images", "."),
        media_layout="train_images/IMAGE_ID.jpg below the folder (train_val_images.zip)",
    ),
    "scienceqa": Published(
        title="ScienceQA",
        owner="https://github.com/lupantech/ScienceQA/tree/main/data/scienceqa",
        files={
            "problems": _file(
                "problems.json",
                "data/scienceqa/problems.json",
                layout='{id: {"question", "choices", "answer": number, "hint", "image": name or null, "subject"}}',
            ),
            "splits": _file(
                "pid_splits.json", "data/scienceqa/pid_splits.json", layout='{"train", "val", "test": lists of ids}'
            ),
        },
        media=("test", "images/test", "images", "."),
        media_layout="test/ID/image.png below the folder",
    ),
    "mme": Published(
        title="MME",
        owner="https://github.com/BradyFU/Awesome-Multimodal-Large-Language-Models/tree/Evaluation",
        files={
            "questions": _file(
                "existence",
                "MME_Benchmark_release_version/existence",
                "MME_Benchmark/existence",
                "MME_Benchmark_release_version/MME_Benchmark/existence",
                "data/test-*.parquet",
                "test-*.parquet",
                "*.parquet",
                layout="a folder for each category with images and texts of two lines QUESTION<tab>Yes|No "
                "(CATEGORY/NAME.jpg and NAME.txt, or CATEGORY/images and CATEGORY/questions_answers_YN), or Parquet "
                "with the columns question_id, image, question, answer, category",
            )
        },
    ),
    "mmbench": Published(
        title="MMBench",
        owner="https://github.com/open-compass/MMBench#download",
        files={
            "questions": _file(
                "mmbench_dev_20230712.tsv",
                "MMBench_DEV_EN.tsv",
                "mmbench_dev_en_20231003.tsv",
                "MMBench_DEV_EN_V11.tsv",
                "mmbench_test_20230712.tsv",
                "MMBench_TEST_EN.tsv",
                "[Mm][Mm][Bb]ench*.tsv",
                layout="a table with tabs and the columns index, question, hint, A, B, C, D, answer, category, image "
                "(base64)",
            )
        },
    ),
    "seed": Published(
        title="SEED-Bench",
        owner="https://github.com/AILab-CVC/SEED-Bench/blob/main/DATASET.md",
        files={
            "questions": _file(
                "SEED-Bench.json",
                layout='{"questions": [{"question_id", "question_type_id", "data_type", "data_id", "question", '
                '"choice_a" to "choice_d", "answer"}], "question_type": {name: id}}',
            )
        },
        media=(".", "images"),
        media_layout="SEED-Bench-image/DATA_ID, and for clips the middle frames SEED-Bench-video-image/QUESTION_ID.png",
    ),
    "coco": Published(
        title="COCO captions",
        owner="https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
        files={
            "captions": _file(
                "dataset_coco.json",
                "captions_val2014.json",
                "annotations/captions_val2014.json",
                layout='Karpathy\'s {"images": [{"filepath", "filename", "split", "cocoid", "sentences": [{"raw"}]}]}, '
                'or COCO\'s {"images": [{"id", "file_name"}], "annotations": [{"id", "image_id", "caption"}]}',
            )
        },
        media=(".", "images", "val2014", "images/val2014"),
        media_layout=_COCO_LAYOUT,
    ),
    "nocaps": Published(
        title="NoCaps",
        owner="https://nocaps.org/download",
        files={
            "captions": _file(
                "nocaps_val_4500_captions.json",
                "nocaps_val_image_info.json",
                "nocaps_test_image_info.json",
                layout='{"images": [{"id", "file_name", "domain"}], "annotations": [{"id", "image_id", "caption"}]}',
            )
        },
        media=("images", "val", "validation", "test", "."),
        media_layout="images/FILE_NAME below the folder (Open Images)",
    ),
    "audiocaps": Published(
        title="AudioCaps",
        owner="https://github.com/cdjkim/audiocaps/tree/master/dataset",
        files={
            "captions": _file(
                "test.csv",
                "dataset/test.csv",
                "audiocaps_test.csv",
                layout="CSV with the columns audiocap_id, youtube_id, start_time, caption",
            )
        },
        media=("test", "audio/test", "audio", "."),
        media_layout="test/YOUTUBE_ID.wav (or _START, or AUDIOCAP_ID) below the folder",
    ),
    "clotho": Published(
        title="Clotho",
        owner="https://zenodo.org/records/4783391",
        files={
            "captions": _file(
                "clotho_captions_evaluation.csv", layout="CSV with the columns file_name, caption_1 to caption_5"
            )
        },
        media=("evaluation", "clotho_audio_evaluation/evaluation", "clotho_audio_evaluation", "."),
        media_layout="evaluation/FILE_NAME below the folder",
    ),
    "msrvtt": Published(
        title="MSR-VTT",
        owner="https://www.microsoft.com/en-us/research/publication/"
        "msr-vtt-a-large-video-description-dataset-for-bridging-video-and-language/",
        files={
            "captions": _file(
                "test_videodatainfo.json",
                "MSRVTT_data.json",
                layout='{"videos": [{"video_id", "split"}], "sentences": [{"sen_id", "video_id", "caption"}]}',
            )
        },
        media=("TestVideo", "videos/all", "videos", "."),
        media_layout="TestVideo/VIDEO_ID.mp4 below the folder",
    ),
    "chair": Published(
        title="CHAIR",
        owner="https://cocodataset.org/#download (annotations) and "
        "https://github.com/LisaAnne/Hallucination/blob/master/data/synonyms.txt",
        files={
            "instances": _file(
                "instances_val2014.json",
                "annotations/instances_val2014.json",
                layout='{"images": [{"id", "file_name"}], "annotations": [{"image_id", "category_id"}], '
                '"categories": [{"id", "name"}]}',
            ),
            "captions": _file(
                "captions_val2014.json",
                "annotations/captions_val2014.json",
                layout='{"annotations": [{"image_id", "caption"}]}',
            ),
            "synonyms": _file("synonyms.txt", "data/synonyms.txt", layout="one class a line: class, synonym, synonym"),
        },
        media=_COCO,
        media_layout=_COCO_LAYOUT,
    ),
    "amber_exact": Published(
        title="AMBER",
        owner="https://github.com/junyangwang0410/AMBER/tree/master/data",
        files={
            "queries": _file(
                "data/query/query_all.json",
                "query/query_all.json",
                "query_all.json",
                layout='[{"id", "image", "query"}]',
            ),
            "annotations": _file(
                "data/annotations.json",
                "annotations.json",
                layout='[{"id", "type", "truth", "hallu"}], in the order of ids',
            ),
            "relation": _file("data/relation.json", "relation.json", layout="{word: [associated words]}"),
            "safe": _file("data/safe_words.txt", "safe_words.txt", layout="one word a line"),
        },
        media=("image", "images", "data/image", "."),
        media_layout="image/AMBER_1.jpg below the folder",
    ),
}
"""Name -> official files."""
