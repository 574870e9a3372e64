#pragma once

#include <string>
#include <string_view>

namespace dtrain::study::figures {

/// A text as the content of an element, or a quoted attribute, of HTML and SVG: & < > " ' are replaced, and what no XML
/// document may hold (control characters, bytes that are no UTF-8) becomes U+FFFD. Names, labels and notes come from
/// users: nothing of theirs reaches a page by another way.
std::string escaped(std::string_view text);

/// A length in user units, with at most two digits after the point. Throws std::invalid_argument where it is not
/// finite.
std::string coordinate(double value);

/// At most so wide, in text_columns. Of what is longer both ends stay, around an ellipsis: names differ at the one or
/// the other (the settings of a method, the count behind a class).
std::string shortened(const std::string& text, std::size_t columns);

/// How wide a text is, about, in a sans-serif font of `size` user units.
double text_width(std::string_view text, double size);

}  // namespace dtrain::study::figures
