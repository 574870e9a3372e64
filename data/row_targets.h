#pragma once

#include <string>

#include "base/problem_type.h"
#include "data/label_map.h"
#include "data/readers/labelled_text.h"
#include "data/targets.h"

namespace dtrain::data {

/// What the labels of a training file ask for: lists of labels multi-label classification, all else single-label.
/// Throws InputError for numbers that look like scores, more than ten different ones and not all of them whole: no
/// class has such a name by intention, so --problem-type must say what they are.
ProblemType problem_type_of(const LabelledTexts& rows, const std::string& name);

/// Throws InputError, naming file and line, for a list of labels where a row has one label, and the other way round.
void check_label_form(const LabelledTexts& rows, ProblemType type, const std::string& name);

/// The names of a model's outputs that the rows ask for: the sorted distinct labels, or of numbers LABEL_0, LABEL_1,
/// ..., as transformers calls them. Throws InputError (`name` is the file's) for lists of numbers of different lengths,
/// and for vectors of zeros and ones, which name nothing.
LabelMap label_map_of(const LabelledTexts& rows, ProblemType type, const std::string& name);

/// The targets of rows in the terms of `labels`. Where a label is unknown or there is none: of a class -1, of a set it
/// is left out, of numbers NaN; with `required`, what is no number throws InputError naming file and line.
Targets targets_of(const LabelledTexts& rows, ProblemType type, const LabelMap& labels, const std::string& name,
                   bool required);

}  // namespace dtrain::data
