#pragma once

#include <string_view>

namespace dtrain::study::figures {

/// Whether a text is one <svg> element as dtrain's figures are: shapes and text, closed in their order, every attribute
/// quoted and one that those figures have. No scripts, links, styles or foreign elements, nothing before it and nothing
/// behind it: as a part of a page, whether that is read as HTML or as XML, it can do nothing but be seen.
bool is_plain_svg(std::string_view text);

}  // namespace dtrain::study::figures
